//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

// takesOneByte makes the stream take the first byte of the wire and then nothing more. It
// fails the test if anything but the rest of the wire is sent. The channel that it returns
// is closed once the byte is taken.
func (f *fakeStream) takesOneByte(t *testing.T, wire []byte) <-chan struct{} {
	begun := make(chan struct{})
	isFirst := true
	f.write = func(p []byte) (int, error) {
		if isFirst {
			isFirst = false
			close(begun)
			return 1, os.ErrDeadlineExceeded
		}
		if !bytes.Equal(p, wire[1:]) {
			t.Errorf("sends %x, which is not the rest of the frame", p)
		}
		return busy(p)
	}
	return begun
}

// gives makes the stream give the input and then its end; with nil, nothing until it is
// closed.
func (f *fakeStream) gives(input []byte) {
	f.read = func(p []byte) (int, error) {
		if n := copy(p, input); n > 0 {
			input = input[n:]
			return n, nil
		}
		if input == nil && !f.hasCalled("close") {
			return busy(p)
		}
		return 0, io.EOF
	}
}

// Nothing follows a frame that was sent in part and then given up, whatever reads have
// seen meanwhile: neither a message that waits for its turn nor the close frame.
//
// Covers SES-36.
func TestNothingFollowsAbortedFrame(t *testing.T) {
	for name, test := range map[string]struct {
		input []byte
		end   EndReason
		err   error
	}{
		"no end":        {nil, EndNone, nil},
		"close frame":   {frameOf(nil), EndClean, io.EOF},
		"end of stream": {[]byte{}, EndEOF, io.EOF},
		"truncated":     {[]byte{0}, EndTruncated, ErrTruncated},
		"too large":     {[]byte{255, 255, 255, 255}, EndTooLarge, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStream()
			f.gives(test.input)
			begun := f.takesOneByte(t, frameOf([]byte("message")))
			c := f.channel(&Options{Linger: -1})
			send := func(text string) <-chan error {
				return background(func() error { return c.WriteMessage(testContext(t), []byte(text)) })
			}
			written := send("message")
			<-begun
			if test.end != EndNone {
				mustEndWith(t, c, test.end, test.err)
			}
			next := send("next message")
			if err := wait(t, background(c.Close)); !errors.Is(err, ErrTimeout) {
				t.Errorf("Close returned %v", err)
			}
			for _, result := range []<-chan error{written, next} {
				if err := wait(t, result); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrTooLarge) {
					t.Errorf("a write returned %v", err)
				}
			}
			if f.hasCalled("close write") {
				t.Error("ended its output as if it were whole")
			}
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
		if f.hasCalled("close") {
			return 0, os.ErrClosed
		}
		return 1, nil
	}
	must(t, wait(t, background(f.channel(&Options{Linger: time.Hour}).Close)))
}

// Close gives up a peer that never takes the rest, and says so.
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

// The server asks which user this is only after it has accepted the connection, so Close
// stays for the whole silence from then on.
//
// Covers RDV-48, SES-63.
func TestCloseStaysForAMomentOnceAccepted(t *testing.T) {
	f := newFakeStream()
	f.read, f.accepted = busy, false
	start := time.Now()
	var accepted time.Time
	f.left = func() int {
		if !f.accepted && time.Since(start) > 2*quiet {
			f.accepted, accepted = true, time.Now()
		}
		return 0
	}
	must(t, wait(t, background(f.channel(&Options{Linger: time.Hour}).Close)))
	if took := time.Since(accepted); took < quiet {
		t.Errorf("left %v after it was accepted", took)
	}
}

// A peer that takes a byte now and then gets everything, although that takes ten times the
// linger. No two writes in a row take nothing, so a slow machine changes nothing.
//
// Covers SES-31, SES-51.
func TestLingerCountsAnew(t *testing.T) {
	f := newFakeStream()
	begun := make(chan struct{})
	var got []byte
	takes := false
	f.write = func(p []byte) (int, error) {
		if takes = !takes; !takes {
			time.Sleep(leastLinger) // the time that the peer takes
			return 0, os.ErrDeadlineExceeded
		}
		if got = append(got, p[0]); len(got) == 1 {
			close(begun)
		}
		return 1, os.ErrDeadlineExceeded
	}
	c := f.channel(&Options{Linger: -1})
	message := []byte("a message")
	written := background(func() error { return c.WriteMessage(testContext(t), message) })
	<-begun
	must(t, wait(t, background(c.Close)))
	wait(t, written)
	if want := append(frameOf(message), 0, 0, 0, 0); !bytes.Equal(got, want) {
		t.Fatalf("the peer got %x, not %x", got, want)
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

// A process that was suspended for longer than the linger makes a last try.
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
