//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

// Covers SES-3, SES-23, SES-26.
func TestPeerDiesWhileWriteWaits(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		written := background(func() error { return c.WriteMessage(testContext(t), pattern(huge, 1)) })
		_, err := io.ReadFull(p, make([]byte, 1))
		must(t, err)
		start := time.Now()
		p.close()
		err = wait(t, written)
		if !errors.Is(err, ErrPeerGone) && !errors.Is(err, ErrReset) {
			t.Fatalf("error is %v", err)
		}
		t.Logf("noticed after %v", time.Since(start))
		again := c.WriteMessage(testContext(t), []byte("x"))
		if again != err {
			t.Fatalf("error is %v, and %v was before", again, err)
		}
		if tr.canReset {
			mustEndWith(t, c, EndReset, syscall.ECONNRESET)
		} else {
			mustEndWith(t, c, EndEOF, io.EOF)
		}
		must(t, c.Close())
	})
}

// Messages that arrived before a write failed are delivered all the same.
//
// Covers SES-2, SES-24.
func TestFailedWriteKeepsInput(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("one")), frameOf(pattern(1000, 1)))
		p.close()
		// The peer's system answers the first write over TCP with a reset.
		eventually(t, "a write fails", func() bool { return c.WriteMessage(testContext(t), []byte("x")) != nil })
		mustRead(t, c, []byte("one"))
		mustRead(t, c, pattern(1000, 1))
		if !tr.canReset {
			mustEndWith(t, c, EndEOF, io.EOF)
			return
		}
		// The stream had ended before the reset, or the reset was seen first.
		_, err := c.ReadMessage(testContext(t))
		if err != io.EOF && !errors.Is(err, ErrReset) {
			t.Fatalf("error is %v", err)
		}
	})
}

// A reset that a write has seen is still an end of the kind reset for readers.
//
// Covers SES-2, SES-3.
func TestResetSeenByWrite(t *testing.T) {
	c, p := openTCP(t, nil)
	p.mustWrite(frameOf([]byte("one")), []byte{0})
	eventually(t, "the bytes are here", func() bool { return pending(t, c) == 8 })
	p.reset()
	var err error
	eventually(t, "a write fails", func() bool {
		err = c.WriteMessage(testContext(t), []byte("x"))
		return err != nil
	})
	if !errors.Is(err, syscall.ECONNRESET) || !errors.Is(err, ErrReset) {
		t.Fatalf("error is %v", err)
	}
	mustRead(t, c, []byte("one"))
	mustEndWith(t, c, EndReset, ErrReset)
}

// What came before a reset that a write has met is read first, and what it says
// of the end holds.
//
// Covers SES-2, SES-3, SES-5.
func TestEndBeforeReset(t *testing.T) {
	for _, v := range []struct {
		wire   []byte
		reason EndReason
		err    error
	}{
		{make([]byte, 4), EndClean, io.EOF},
		{nil, EndReset, ErrReset},
		{[]byte{255, 255, 255, 255}, EndTooLarge, ErrTooLarge},
	} {
		c, p := openTCP(t, nil)
		wire := append(frameOf([]byte("one")), v.wire...)
		p.mustWrite(wire)
		eventually(t, "all has come", func() bool { return pending(t, c) == len(wire) })
		p.reset()
		eventually(t, "a write fails", func() bool { return c.WriteMessage(testContext(t), []byte("x")) != nil })
		mustRead(t, c, []byte("one"))
		mustEndWith(t, c, v.reason, v.err)
		must(t, c.Close())
	}
}

// An own close is the end, although a write has met a reset before.
//
// Covers SES-6.
func TestCloseAfterReset(t *testing.T) {
	c, p := openTCP(t, nil)
	p.reset()
	eventually(t, "a write fails", func() bool { return c.WriteMessage(testContext(t), []byte("x")) != nil })
	must(t, c.Close())
	mustEndWith(t, c, EndLocal, ErrClosed)
}

// Covers SES-23, SES-24.
func TestIdleReaderGone(t *testing.T) {
	checkLeaks(t)
	c, p := openPipes(t, nil)
	p.mustWrite(frameOf([]byte("one")))
	p.closeRead()
	err := c.WriteMessage(testContext(t), []byte("x"))
	if !errors.Is(err, ErrPeerGone) || !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("error is %v", err)
	}
	mustRead(t, c, []byte("one"))
	p.mustWrite(frameOf([]byte("two")))
	mustRead(t, c, []byte("two"))
	p.mustWrite(make([]byte, 4))
	mustEndWith(t, c, EndClean, io.EOF)
	must(t, c.Close())
}

// A peer that exceeds the limit may not read either, and no write waits for it.
//
// Covers SES-26.
func TestTooLargeWakesWriters(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 32 << 20, Linger: -1})
		write := func() error { return c.WriteMessage(context.Background(), make([]byte, 32<<20)) }
		first, second := background(write), background(write)
		mustReadSome(t, p) // the first has begun
		p.mustWrite([]byte{0xff, 0, 0, 0})
		mustEndWith(t, c, EndTooLarge, ErrTooLarge)
		for _, written := range []<-chan error{first, second} {
			if err := wait(t, written); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("error is %v", err)
			}
		}
		c.Close()
		p.close()
	})
}

// Covers SES-26.
func TestFirstRefusalStays(t *testing.T) {
	c, p := openPipes(t, nil)
	p.closeRead()
	if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) {
		t.Fatalf("a write to a peer that does not read: %v", err)
	}
	p.mustWrite([]byte{0xff, 0xff, 0xff, 0xff})
	mustEndWith(t, c, EndTooLarge, ErrTooLarge)
	if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) {
		t.Fatalf("a later write, after reading has ended with too-large: %v", err)
	}
}
