package ipcchannel

import (
	"context"
	"strings"
)

// transportType is one transport: its rendezvous strings, and what a Channel has
// to know about its streams.
type transportType struct {
	name string
	form string // what its strings look like, for errors
	// recognises reports whether a string can only be meant for this transport.
	recognises func(s string) bool
	// parse returns what two strings lead to that the transport recognises. It
	// touches nothing.
	parse func(in, out string) (endpoint, error)

	// drainsBeforeClose is whether input that is unread when a stream is closed
	// could destroy output that the peer has not read yet (SES-60).
	drainsBeforeClose bool
}

// endpoint is what the two strings of a rendezvous lead to.
type endpoint interface {
	// dial connects to a server that may not be there yet.
	dial(ctx context.Context, opts *Options, wait *pacing) (stream, error)
}

// transportTypes has every transport. A new one is a file of its own, and its name
// here.
var transportTypes = []*transportType{namedPipe, unixSocket, tcp}

// parseRendezvous returns the transport that the two strings mean, and what they
// lead to. It touches nothing: whether the paths exist is found out when they are
// opened.
func parseRendezvous(in, out string) (*transportType, endpoint, error) {
	ours, err := typeOf(in)
	if err != nil {
		return nil, nil, err
	}
	other, err := typeOf(out)
	if err != nil {
		return nil, nil, err
	}
	if ours != other {
		return nil, nil, newError(CodeBadRendezvous, "in %q is for %s and out %q for %s: both must be for the same transport", in, ours.name, out, other.name)
	}
	where, err := ours.parse(in, out)
	return ours, where, err
}

func typeOf(s string) (*transportType, error) {
	var forms []string
	for _, t := range transportTypes {
		if t.recognises(s) {
			return t, nil
		}
		forms = append(forms, t.form)
	}
	return nil, newError(CodeBadRendezvous, "%q is neither %s", s, strings.Join(forms, " nor "))
}
