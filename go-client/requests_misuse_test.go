//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// mustRefuse checks that neither a call nor a serve gets through, and that both say why.
func mustRefuse(t *testing.T, r *RequestChannel, kind error, text string) {
	t.Helper()
	_, called := r.Call(testContext(t), nil)
	served := wait(t, serveIn(testContext(t), r, echoRequest))
	for what, err := range map[string]error{"Call": called, "Serve": served} {
		if err == nil || kind != nil && !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s returned %v", what, err)
		}
	}
}

// An error with the longest code has to fit.
//
// Covers REQ-17.
func TestSmallestMaxMessageSizeOfRequests(t *testing.T) {
	small, p := openTCP(t, &Options{MaxMessageSize: 69})
	mustRefuse(t, NewRequestChannel(small), ErrBadOption, "requests need a MaxMessageSize of at least 70, not 69: raise it at both ends")
	must(t, small.Close())
	p.mustEnd() // nothing was sent

	c, p := openTCP(t, &Options{MaxMessageSize: 70})
	served := serveIn(testContext(t), NewRequestChannel(c), func(context.Context, []byte) ([]byte, error) {
		return nil, &RequestError{Code(strings.Repeat("x", 64)), "no room"}
	})
	p.mustWrite(requestFrame(kindRequest, 1, ""))
	if m := p.mustReadRequest(kindError, 1); *m.err != (RequestError{Code(strings.Repeat("x", 64)), ""}) {
		t.Errorf("the request was answered with %v", m.err)
	}
	must(t, c.Close())
	if err := wait(t, served); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// The two would take each other's messages.
//
// Beyond the specification: misuse is told.
func TestSecondRequestChannelOfSession(t *testing.T) {
	const text = "ipcchannel: this session has a RequestChannel already: use that one, for calls and to serve"
	c, p := openTCP(t, nil)
	first := NewRequestChannel(c)
	mustRefuse(t, NewRequestChannel(c), nil, text)
	if err := Serve(testContext(t), c, echoRequest); err == nil || err.Error() != text {
		t.Errorf("Serve returned %v", err)
	}
	result := callIn(testContext(t), first, nil) // goes on
	p.mustReadRequest(kindRequest, 1)
	p.mustWrite(requestFrame(kindAnswer, 1, ""))
	must(t, wait(t, result))
}

// Beyond the specification: misuse is told.
func TestRequestsWithoutChannelOrHandler(t *testing.T) {
	none := NewRequestChannel(nil)
	mustRefuse(t, none, ErrNotConnected, "the Channel is nil: it must come from Dial or DialEnv")
	if err := Serve(testContext(t), nil, echoRequest); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Serve without a channel returned %v", err)
	}
	must(t, none.Close())
	c, _ := openTCP(t, nil)
	if err := Serve(testContext(t), c, nil); err == nil || err.Error() != "ipcchannel: the handler of Serve is nil: pass a function" {
		t.Errorf("Serve without a handler returned %v", err)
	}
}
