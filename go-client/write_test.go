//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sprint(v ...any) string { return fmt.Sprint(v...) }

// huge is more than all buffers between two ends hold.
const huge = 10 << 20

func TestRefusedMessages(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 3})
		for _, empty := range [][]byte{nil, {}} {
			if err := c.WriteMessage(testContext(t), empty); !errors.Is(err, ErrEmptyMessage) {
				t.Fatalf("error is %v", err)
			}
		}
		err := c.WriteMessage(testContext(t), []byte("four"))
		if !errors.Is(err, ErrMessageTooLarge) || !strings.HasPrefix(err.Error(), "ipcchannel: message of 4 bytes exceeds the limit of 3: set MaxMessageSize") {
			t.Fatalf("error is %v", err)
		}
		mustSend(t, c, []byte("abc"))
		if got := p.mustReadFrame(); string(got) != "abc" {
			t.Fatalf("peer got %q", got)
		}
	})
}

func TestOneSystemCallPerSmallFrame(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		counted := &countingStream{stream: c.stream}
		c.stream = counted
		message := pattern(headSize-headerSize, 1)
		sent := background(func() error { return c.WriteMessage(testContext(t), message) })
		if got := p.mustReadFrame(); !bytes.Equal(got, message) {
			t.Fatalf("peer got %s", brief(got))
		}
		must(t, wait(t, sent))
		if counted.writes != 1 {
			t.Fatalf("%d writes", counted.writes)
		}
	})
}

type countingStream struct {
	stream
	writes int
}

func (s *countingStream) Write(b []byte) (int, error) {
	s.writes++
	return s.stream.Write(b)
}

func TestManyWriters(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const writers, each, size = 10, 5, 100_000
		var results []<-chan error
		for w := range writers {
			results = append(results, background(func() error {
				for i := range each {
					if err := c.WriteMessage(testContext(t), pattern(size+w, 100*w+i)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		next := make([]int, writers)
		for range writers * each {
			got := p.mustReadFrame()
			w := len(got) - size
			if w < 0 || w >= writers || !bytes.Equal(got, pattern(size+w, 100*w+next[w])) {
				t.Fatalf("peer got %s", brief(got))
			}
			next[w]++ // each writer's messages are in order
		}
		for _, r := range results {
			must(t, wait(t, r))
		}
	})
}

func TestBothSendFirst(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		message := pattern(3_000_000, 1)
		peerSends := background(func() error { return p.write(frameOf(message)) })
		channelSends := background(func() error { return c.WriteMessage(testContext(t), message) })
		mustRead(t, c, message)
		if got := p.mustReadFrame(); !bytes.Equal(got, message) {
			t.Fatalf("peer got %s", brief(got))
		}
		must(t, wait(t, peerSends))
		must(t, wait(t, channelSends))
	})
}

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
		if tr.name == "tcp" {
			mustEndWith(t, c, EndReset, syscall.ECONNRESET)
		} else {
			mustEndWith(t, c, EndEOF, io.EOF)
		}
		must(t, c.Close())
	})
}

// Messages that arrived before a write failed are delivered all the same.
func TestFailedWriteKeepsInput(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("one")), frameOf(pattern(1000, 1)))
		p.close()
		// The peer's system answers the first write over TCP with a reset.
		eventually(t, "a write fails", func() bool { return c.WriteMessage(testContext(t), []byte("x")) != nil })
		mustRead(t, c, []byte("one"))
		mustRead(t, c, pattern(1000, 1))
		if tr.name == "pipe" {
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
func TestCloseAfterReset(t *testing.T) {
	c, p := openTCP(t, nil)
	p.reset()
	eventually(t, "a write fails", func() bool { return c.WriteMessage(testContext(t), []byte("x")) != nil })
	must(t, c.Close())
	mustEndWith(t, c, EndLocal, ErrClosed)
}

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

func TestSlowReader(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const count, size = 40, 300_000
		sent := background(func() error {
			for i := range count {
				if err := c.WriteMessage(testContext(t), pattern(size, i)); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range count {
			got := make([]byte, headerSize+size)
			for rest := got; len(rest) > 0; {
				n, err := p.Read(rest[:min(len(rest), 1000+i*100)])
				must(t, err)
				rest = rest[n:]
			}
			if !bytes.Equal(got, frameOf(pattern(size, i))) {
				t.Fatalf("message %d is not whole", i)
			}
		}
		must(t, wait(t, sent))
	})
}

func TestUseOfZeroChannel(t *testing.T) {
	var c Channel
	if _, err := c.ReadMessage(context.Background()); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
	if err := c.WriteMessage(context.Background(), []byte("x")); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
	if c.EndReason() != EndNone {
		t.Error(c.EndReason())
	}
	must(t, c.Close())
}

func TestEmptyDirectoryStaysEmpty(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(testContext(t), filepath.Join(dir, "in"), filepath.Join(dir, "out"), &Options{Timeout: -1})
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 0 {
		t.Fatal(entries)
	}
}

// A peer that breaks the limit may not read either, and nobody waits for it.
func TestTooLargeWakesWriters(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 32 << 20, Linger: -1})
		write := func() error { return c.WriteMessage(context.Background(), make([]byte, 32<<20)) }
		first, second := background(write), background(write)
		mustReadSome(t, p) // one of them has begun
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
