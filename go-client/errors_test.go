package ipcchannel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"
)

// Covers ERR-1.
func TestErrorMatches(t *testing.T) {
	for _, v := range []struct {
		err      error
		code     Code
		familiar error
	}{
		{ErrTruncated, "truncated", io.ErrUnexpectedEOF},
		{ErrReset, "reset", syscall.ECONNRESET},
		{ErrTooLarge, "too-large", nil},
		{ErrPeerGone, "peer-gone", syscall.EPIPE},
		{ErrClosed, "closed", net.ErrClosed},
		{ErrNotConnected, "not-connected", nil},
		{ErrBadRendezvous, "bad-rendezvous", nil},
		{ErrEmptyMessage, "empty-message", nil},
		{ErrMessageTooLarge, "message-too-large", nil},
		{ErrBadOption, "bad-option", nil},
		{ErrTimeout, "timeout", os.ErrDeadlineExceeded},
	} {
		cause := errors.New("cause")
		err := fmt.Errorf("wrapped: %w", wrapError(v.code, cause, "detail %d", 1))
		var e *Error
		if !errors.Is(err, v.err) || !errors.Is(err, cause) || !errors.As(err, &e) || e.Code != v.code {
			t.Errorf("%v does not match", err)
		}
		if v.familiar != nil && !errors.Is(err, v.familiar) {
			t.Errorf("%v does not match %v", err, v.familiar)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, &Error{Code: "other"}) {
			t.Errorf("%v matches too much", err)
		}
		if want := "wrapped: ipcchannel: detail 1: cause"; err.Error() != want {
			t.Errorf("text is %q", err)
		}
	}
}

// Options that are left out, or negative.
//
// Covers RDV-9, SES-50.
func TestOptions(t *testing.T) {
	r, err := (*Options)(nil).resolved()
	want := Options{Timeout: 10 * time.Second, MaxMessageSize: 64 << 20, Linger: time.Second}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = (&Options{Timeout: -1, MaxMessageSize: 7, Linger: -1, AllowedUsers: []uint32{5}}).resolved()
	if err != nil || !reflect.DeepEqual(r, Options{Timeout: 0, MaxMessageSize: 7, Linger: leastLinger, AllowedUsers: []uint32{5}}) {
		t.Errorf("%+v, %v", r, err)
	}
}
