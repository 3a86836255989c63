package ipcchannel

import "io"

// unansweredError returns the error of a call that cannot be answered any more, since a read
// or a write has failed with err (REQ-15).
func (r *RequestChannel) unansweredError(err error) error {
	coded, ok := err.(*Error)
	switch {
	case !ok && err == io.EOF:
		return newError(CodeUnanswered,
			"the session ended (%s) before the request was answered: the peer may or may not have handled it", r.channel.endOrStop())
	case !ok, coded.Code == CodeClosed, coded.Code == CodeBadMessage:
		return err
	}
	return wrapError(CodeUnanswered, err, "the request was not answered: the peer may or may not have handled it")
}

// unsentError returns the error of a call of which nothing was sent, since a read or a write
// had failed with err before.
func (r *RequestChannel) unsentError(err error) error {
	const text = "the request was not sent"
	coded, ok := err.(*Error)
	switch {
	case !ok && err == io.EOF:
		return newError(CodeUnanswered, "the session ended (%s), and %s", r.channel.endOrStop(), text)
	case !ok:
		return err
	case coded.Code == CodeClosed:
		return newError(CodeClosed, "the channel was closed at this end, and %s: dial again for a new session", text)
	case coded.Code == CodeBadMessage:
		return wrapError(CodeBadMessage, err, text)
	}
	return wrapError(CodeUnanswered, err, text)
}

// endOrStop names the end for an error.
func (c *Channel) endOrStop() string {
	if reason := c.EndReason(); reason != EndNone {
		return string(reason)
	}
	return "reads were stopped by a signal"
}
