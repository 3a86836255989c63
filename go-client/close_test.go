//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// pending returns how many bytes of input the kernel holds for the channel.
func pending(t *testing.T, c *Channel) int {
	t.Helper()
	var raw syscall.RawConn
	var err error
	switch s := c.stream.(type) {
	case syscall.Conn:
		raw, err = s.SyscallConn()
	case *pipeStream:
		raw, err = s.in.SyscallConn()
	}
	must(t, err)
	fionread := uintptr(0x541B)
	if runtime.GOOS == "darwin" {
		fionread = 0x4004667F
	}
	var n int32
	must(t, raw.Control(func(fd uintptr) {
		syscall.Syscall(syscall.SYS_IOCTL, fd, fionread, uintptr(unsafe.Pointer(&n)))
	}))
	return int(n)
}

// Covers SES-5, SES-31, SES-32.
func TestCloseSendsEverything(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const count = 50
		for i := range count {
			mustSend(t, c, pattern(100+i, i))
		}
		p.mustWrite(frameOf(pattern(5000, 1))) // input that no read takes
		must(t, c.Close())
		for i := range count {
			if got := p.mustReadFrame(); !bytes.Equal(got, pattern(100+i, i)) {
				t.Fatalf("message %d is %s", i, brief(got))
			}
		}
		p.mustEnd()
		mustEndWith(t, c, EndLocal, net.ErrClosed)
	})
}

// A peer that writes before it reads gets everything too.
//
// Covers SES-31, SES-34, SES-60.
func TestCloseWhilePeerWrites(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{Linger: generous})
		mustSend(t, c, []byte("one"))
		peerWrites := background(func() error { return p.write(frameOf(pattern(huge, 1))) })
		if tr.drainsBeforeClose {
			// Without draining, the peer's write fails as soon as the output is out.
			eventually(t, "the peer writes", func() bool { return pending(t, c) > 0 })
		}
		closed := background(c.Close)
		err := wait(t, peerWrites)
		if tr.drainsBeforeClose {
			must(t, err)
		}
		if got := p.mustReadFrame(); string(got) != "one" {
			t.Fatalf("peer got %q", got)
		}
		p.mustEnd()
		p.close()
		must(t, wait(t, closed))
	})
}

// Covers SES-21, SES-26, SES-31, SES-33.
func TestCloseCompletesCancelledWrite(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{Linger: generous})
		message := pattern(huge, 1)
		written := background(func() error { return c.WriteMessage(testContext(t), message) })
		first := make([]byte, 1)
		_, err := io.ReadFull(p, first)
		must(t, err)
		waiting := background(func() error { return c.WriteMessage(testContext(t), []byte("not begun")) })
		reading := background(func() error {
			_, err := c.ReadMessage(testContext(t))
			return err
		})
		eventually(t, "a reader has the turn", func() bool { return len(c.reading.slot) == 1 })
		closed := background(c.Close)
		for _, result := range []<-chan error{written, waiting, reading} {
			if err := wait(t, result); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Fatalf("error is %v", err)
			}
		}
		rest, err := io.ReadAll(p)
		must(t, err)
		if want := append(frameOf(message), 0, 0, 0, 0); !bytes.Equal(append(first, rest...), want) {
			t.Fatalf("peer got %d bytes, not %d", len(rest)+1, len(want))
		}
		p.close()
		must(t, wait(t, closed))
	})
}

// Covers SES-30, SES-31, SES-32, SES-33.
func TestCloseLingersOnFullStream(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		const linger = 50 * time.Millisecond
		c, p := tr.open(t, &Options{Linger: linger})
		written := background(func() error { return c.WriteMessage(testContext(t), pattern(huge, 1)) })
		_, err := io.ReadFull(p, make([]byte, 1))
		must(t, err)
		start := time.Now()
		err = c.Close()
		if !errors.Is(err, ErrTimeout) {
			t.Fatalf("Close returned %v", err)
		}
		if passed := time.Since(start); passed < linger || passed > generous/2 {
			t.Fatalf("Close took %v", passed)
		}
		if err := wait(t, written); !errors.Is(err, ErrClosed) {
			t.Fatalf("error is %v", err)
		}
		if again := c.Close(); again != err {
			t.Fatalf("Close returned %v, then %v", err, again)
		}
	})
}

// notesEnd is a stream that notes when its output has ended.
type notesEnd struct {
	stream
	ended chan<- error
}

func (n notesEnd) CloseWrite() error {
	err := n.stream.CloseWrite()
	n.ended <- err
	return err
}

// Close waits neither for a peer that has ended its direction nor for one that has reset
// the connection, even if it has not taken all output.
//
// Covers SES-61.
func TestCloseStopsDrainingAtEndOfPeer(t *testing.T) {
	for name, leave := range map[string]func(*peer){"end": (*peer).closeWrite, "reset": (*peer).reset} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			c, p := openTCP(t, &Options{Linger: 2 * generous})
			mustSend(t, c, pattern(600_000, 1))
			if c.stream.unsent() == 0 {
				t.Fatal("the peer has it already")
			}
			ended := make(chan error, 1)
			c.stream = notesEnd{c.stream, ended}
			closed := background(c.Close)
			must(t, wait(t, ended))
			leave(p)
			must(t, wait(t, closed))
		})
	}
}

// Our kernel has taken all output, but the peer's kernel has no room for it.
//
// Covers SES-60, SES-63.
func TestCloseWaitsUntilPeerHasAll(t *testing.T) {
	checkLeaks(t)
	c, p := openTCP(t, &Options{Linger: generous})
	message := pattern(600_000, 1)
	mustSend(t, c, message)
	if c.stream.unsent() == 0 {
		t.Fatal("the peer has it already")
	}
	closed := background(c.Close)
	select {
	case err := <-closed:
		t.Fatalf("closed: %v", err)
	case <-time.After(5 * quiet):
	}
	p.mustWrite([]byte("a reset, were the socket closed by now"))
	if got := p.mustReadFrame(); !bytes.Equal(got, message) {
		t.Fatalf("peer got %s", brief(got))
	}
	p.mustEnd()
	p.close()
	must(t, wait(t, closed))
}

// Covers SES-51, SES-52, SES-62.
func TestLingerTimer(t *testing.T) {
	now := time.Now()
	linger := lingerTimer{limit: time.Second}
	for _, look := range []struct {
		after time.Duration
		left  int
		over  bool
	}{
		{0, 10, false}, {900 * time.Millisecond, 10, false}, {950 * time.Millisecond, 9, false},
		{1949 * time.Millisecond, 9, false}, {1950 * time.Millisecond, 9, true},
		{1950 * time.Millisecond, 8, false}, {2950 * time.Millisecond, 8, true},
	} {
		if over := linger.isOver(now.Add(look.after), look.left); over != look.over {
			t.Fatalf("isOver is %v after %v with %d left", over, look.after, look.left)
		}
	}
}

// Covers SES-5, SES-26, SES-30, SES-32.
func TestCloseAnyNumberOfTimes(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.close()
		var closes []<-chan error
		for range 5 {
			closes = append(closes, background(c.Close))
		}
		for _, result := range closes {
			must(t, wait(t, result))
		}
		must(t, c.Close())
		if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrClosed) {
			t.Fatalf("error is %v", err)
		}
		mustEndWith(t, c, EndLocal, ErrClosed)
	})
}

// Covers SES-5, SES-6.
func TestCloseDiscardsUnreadMessages(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("one")), frameOf([]byte("two")))
		mustRead(t, c, []byte("one"))
		must(t, c.Close())
		mustEndWith(t, c, EndLocal, ErrClosed)
	})
}

// A close frame behind a message that no read has returned is not the end.
//
// Covers SES-6.
func TestCloseBeforeTheReaderReachesTheEnd(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		wire := slices.Concat(frameOf([]byte("one")), frameOf([]byte("two")), frameOf(nil))
		p.mustWrite(wire)
		eventually(t, "all of it is here", func() bool { return pending(t, c) == len(wire) })
		mustRead(t, c, []byte("one"))
		if c.EndReason() != EndNone {
			t.Errorf("EndReason is %q with a message unread", c.EndReason())
		}
		must(t, c.Close())
		mustEndWith(t, c, EndLocal, ErrClosed)
	})
}

// Covers SES-32.
func TestCyclesLeaveNothing(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for range 50 {
			c, p := tr.open(t, nil)
			mustSend(t, c, []byte("x"))
			p.mustWrite(make([]byte, 4))
			p.closeWrite()
			must(t, c.Close())
			p.close()
		}
	})
}
