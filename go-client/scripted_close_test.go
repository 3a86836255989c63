//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A frame that was sent in part and given up is the last thing that is sent,
// whatever reads have seen meanwhile.
//
// Covers SES-36.
func TestNothingFollowsAbortedFrame(t *testing.T) {
	for name, input := range map[string][]byte{"no input": nil, "too large": {255, 255, 255, 255}} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStream()
			sentInPart := make(chan struct{})
			first := true
			f.write = func(p []byte) (int, error) {
				if first {
					first = false
					close(sentInPart)
					return 1, os.ErrDeadlineExceeded
				}
				if len(p) == headerSize {
					t.Error("sent a close frame")
				}
				return busy(p)
			}
			f.read = func(p []byte) (int, error) {
				n := copy(p, input)
				input = nil
				if n > 0 {
					return n, nil
				}
				return 0, io.EOF
			}
			c := f.channel(&Options{Linger: -1})
			written := background(func() error { return c.WriteMessage(testContext(t), []byte("message")) })
			<-sentInPart
			if input != nil {
				mustEndWith(t, c, EndTooLarge, ErrTooLarge)
			}
			if err := wait(t, background(c.Close)); !errors.Is(err, ErrTimeout) {
				t.Errorf("Close returned %v", err)
			}
			wait(t, written)
		})
	}
}

// After a reset that a read has met, nothing is sent, not even what could be.
//
// Covers SES-26, SES-36.
func TestNothingFollowsReset(t *testing.T) {
	f := newFakeStream()
	f.read = func([]byte) (int, error) { return 0, syscall.ECONNRESET }
	c := f.channel(nil)
	mustEndWith(t, c, EndReset, ErrReset)
	if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrReset) {
		t.Errorf("error is %v", err)
	}
	must(t, c.Close())
	if calls := sprint(f.calls); calls != "[close]" {
		t.Error(calls)
	}
}

// What is in a pipe stays there for the peer: Close waits for no end of what it
// sends, as it does over TCP.
//
// Beyond the specification: Close over pipes waits for no end of what the peer sends.
func TestCloseOverPipesDoesNotWaitForTalkingPeer(t *testing.T) {
	f := newFakeStream()
	f.drains = false
	f.read = func([]byte) (int, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if slices.Contains(f.calls, "close") {
			return 0, os.ErrClosed
		}
		return 1, nil
	}
	must(t, wait(t, background(f.channel(&Options{Linger: time.Hour}).Close)))
}

// A peer that never takes the rest is given up, and Close says so.
//
// Covers SES-35, SES-62.
func TestCloseTellsWhatWasNotTaken(t *testing.T) {
	for name, test := range map[string]struct {
		left     int
		accepted bool
		lost     bool
	}{
		"some left":    {left: 1, accepted: true, lost: true},
		"not accepted": {left: 0, accepted: false, lost: true},
		"unknown":      {left: -1, accepted: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStream()
			f.read, f.accepted = busy, test.accepted
			f.left = func() int { return test.left }
			c := f.channel(&Options{Linger: -1})
			err := wait(t, background(c.Close))
			if errors.Is(err, ErrTimeout) != test.lost {
				t.Errorf("Close returned %v", err)
			}
			if phase := c.state().phase; phase != phaseClosed {
				t.Errorf("the session is in state %d", phase)
			}
			if calls := sprint(f.calls); calls != "[write close write close]" {
				t.Error(calls)
			}
		})
	}
}

// What the peer reads of a TCP connection counts before there is room again.
//
// Covers SES-52.
func TestUnsentCountsForLinger(t *testing.T) {
	f := newFakeStream()
	left := 20
	f.left = func() int { return left }
	f.write = func(p []byte) (int, error) {
		if left > 0 {
			left--
			time.Sleep(leastLinger / 2)
			return 0, os.ErrDeadlineExceeded
		}
		return len(p), nil
	}
	c := f.channel(&Options{Linger: leastLinger * 10})
	must(t, wait(t, background(c.Close)))
}

// A process that stood still for longer than the linger makes a last try.
//
// Covers SES-53.
func TestOwnStallIsNotThePeers(t *testing.T) {
	f := newFakeStream()
	stood := false
	var deadline time.Time
	f.onWriteDeadline = func(set time.Time) { deadline = set }
	f.write = func(p []byte) (int, error) {
		if !stood {
			stood = true
			time.Sleep(2 * leastLinger)
			return 0, os.ErrDeadlineExceeded
		}
		if deadline.Before(time.Now()) { // a real stream would not try
			return 0, os.ErrDeadlineExceeded
		}
		return len(p), nil
	}
	must(t, wait(t, background(f.channel(&Options{Linger: -1}).Close)))
}

// While output waits, input is read and dropped, for however long that takes.
//
// Covers SES-34.
func TestCloseReadsWhileOutputWaits(t *testing.T) {
	f := newFakeStream()
	enough := make(chan struct{})
	reads := 0
	f.read = func([]byte) (int, error) {
		if reads++; reads == 5 {
			close(enough)
		}
		if reads > 5 {
			return 0, io.EOF
		}
		time.Sleep(quiet)
		return 0, os.ErrDeadlineExceeded
	}
	f.write = func(p []byte) (int, error) {
		select {
		case <-enough:
			return len(p), nil
		case <-time.After(generous):
			return 0, io.ErrClosedPipe
		}
	}
	must(t, wait(t, background(f.channel(&Options{Linger: generous}).Close)))
	if reads < 5 {
		t.Fatalf("stopped reading after %d reads", reads)
	}
}
