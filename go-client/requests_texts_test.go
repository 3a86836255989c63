//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// Beyond the specification: what errors say.
func TestTextsOfErrorsThatThePeerGets(t *testing.T) {
	c, p := openTCP(t, &Options{MaxMessageSize: 100})
	r := NewRequestChannel(c)
	result := callIn(testContext(t), r, nil)
	p.mustReadRequest(kindRequest, 1)
	p.mustWrite(requestFrame(kindRequest, 7, ""))
	want := RequestError{CodeUnserved, "the end that got this request does not serve: it only calls, or has stopped"}
	if m := p.mustReadRequest(kindError, 7); *m.err != want {
		t.Errorf("a request to an end that only calls was answered with %v", m.err)
	}
	p.mustWrite(requestFrame(kindAnswer, 1, ""))
	must(t, wait(t, result))
}

// Beyond the specification: what errors say.
func TestTextOfTooLarge(t *testing.T) {
	asking, answering := pairOfChannels(t)
	answering.limit = 200
	large := func(context.Context, []byte) ([]byte, error) { return make([]byte, 196), nil }
	served := serveIn(testContext(t), NewRequestChannel(answering), large)
	_, err := NewRequestChannel(asking).Call(testContext(t), nil)
	want := RequestError{CodeTooLarge,
		"the answer would have 196 bytes, and 195 is the limit: send it in parts, or raise MaxMessageSize at both ends"}
	var got *RequestError
	if !errors.As(err, &got) || *got != want {
		t.Errorf("the call returned %v", err)
	}
	must(t, asking.Close())
	must(t, wait(t, served))
}

// Beyond the specification: what errors say.
func TestTextsOfBadMessages(t *testing.T) {
	for message, what := range map[string]string{
		"x":                        "it has 1 byte, and the shortest message has 5",
		"xxxx":                     "it has 4 bytes, and the shortest message has 5",
		"\x14\x00\x00\x00\x02x":    "the cancel of request 2 has a body of 1 byte",
		"\x13\x00\x00\x00\x02\x01": "it is an error with a code of 1 byte, of which 0 are there",
		"hello":                    "its kind is 0x68",
	} {
		_, err := parseRequestMessage([]byte(message))
		want := "ipcchannel: the peer sent a message that requests and answers do not allow: " + what +
			". Do both ends use requests, and nothing else?"
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v", message, err)
		}
	}
}

// A call that waits may have been handled; one that begins after the end was not sent.
//
// Covers REQ-15.
func TestTextsOfCallsAtTheEnd(t *testing.T) {
	const unknown = ": the peer may or may not have handled it"
	const bad = "the peer sent a message that requests and answers do not allow: its kind is 0x68. Do both ends use requests, and nothing else?"
	for name, test := range map[string]struct {
		end         func(c *Channel, p *peer)
		kind, cause error
		first, late string
	}{
		"clean": {func(_ *Channel, p *peer) { p.mustWrite(frameOf(nil)) }, ErrUnanswered, nil,
			"the session ended (clean) before the request was answered" + unknown, "the session ended (clean), and the request was not sent"},
		"reset": {func(_ *Channel, p *peer) { p.reset() }, ErrUnanswered, ErrReset,
			"the request was not answered" + unknown + ": connection lost", "the request was not sent: connection lost"},
		"closed": {func(c *Channel, _ *peer) { c.Close() }, ErrClosed, nil,
			"the channel was closed at this end: dial again for a new session",
			"the channel was closed at this end, and the request was not sent: dial again for a new session"},
		"bad": {func(_ *Channel, p *peer) { p.mustWrite(frameOf([]byte("hello"))) }, ErrBadMessage, nil,
			bad, "the request was not sent: " + bad},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := openTCP(t, nil)
			r := NewRequestChannel(c, WithMaxOpen(1))
			result := callIn(testContext(t), r, nil)
			p.mustReadRequest(kindRequest, 1)
			waiting := callIn(testContext(t), r, nil) // for room, so it is not sent either
			test.end(c, p)
			first, second := wait(t, result), wait(t, waiting)
			_, late := r.Call(testContext(t), nil)
			for _, one := range []struct {
				err  error
				text string
			}{{first, test.first}, {second, test.late}, {late, test.late}} {
				if one.err == nil || !strings.HasPrefix(one.err.Error(), "ipcchannel: "+one.text) || strings.Count(one.err.Error(), "ipcchannel") > 1 {
					t.Errorf("a call returned %v, not %s", one.err, one.text)
				}
				if !errors.Is(one.err, test.kind) || test.cause != nil && !errors.Is(one.err, test.cause) {
					t.Errorf("%v has another code or cause", one.err)
				}
			}
		})
	}
}

// Beyond the specification: what errors say.
func TestRequestIsNotSentOnceWritingFails(t *testing.T) {
	c, _ := openTCP(t, nil)
	r := NewRequestChannel(c)
	c.on(eventPeerGoneOnWrite, ErrPeerGone)
	_, err := r.Call(testContext(t), nil)
	if !errors.Is(err, ErrUnanswered) || err.Error() != "ipcchannel: the request was not sent: the peer no longer reads" {
		t.Errorf("the call returned %v", err)
	}
}
