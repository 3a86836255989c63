//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func needsReset(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("NOT TESTED: this system does not report the reset of a Unix socket")
	}
}

// A peer that closes with unread input resets the connection. What it sent comes first.
//
// Covers SES-2, SES-3, SES-5, SES-24.
func TestUnixResetComesAfterTheData(t *testing.T) {
	needsReset(t)
	for _, v := range []struct {
		wire   []byte
		reason EndReason
		err    error
	}{
		{nil, EndReset, ErrReset},
		{make([]byte, 4), EndClean, io.EOF},
		{[]byte{0, 0}, EndReset, ErrReset},
		{[]byte{255, 255, 255, 255}, EndTooLarge, ErrTooLarge},
	} {
		for _, writes := range []bool{false, true} {
			checkLeaks(t)
			c, p := openUnix(t, nil)
			mustSend(t, c, []byte("unread"))
			p.mustWrite(frameOf([]byte("last")), v.wire)
			p.close()
			if writes {
				if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) || !errors.Is(err, syscall.EPIPE) {
					t.Fatalf("error is %v", err)
				}
			}
			mustRead(t, c, []byte("last"))
			mustEndWith(t, c, v.reason, v.err)
			must(t, c.Close())
		}
	}
}

// Covers SES-5, SES-23, SES-24, SES-26.
func TestUnixPeerIsGone(t *testing.T) {
	checkLeaks(t)
	c, p := openUnix(t, nil)
	p.mustWrite(frameOf([]byte("last")))
	p.close()
	for range 2 {
		if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) {
			t.Fatalf("error is %v", err)
		}
	}
	mustRead(t, c, []byte("last"))
	mustEndWith(t, c, EndEOF, io.EOF)
	must(t, c.Close())
}

// A client in the queue is connected, and what it has sent and closed with is delivered
// to a server that accepts it later.
//
// Covers SES-31, SES-32.
func TestUnixCloseBeforeAccept(t *testing.T) {
	checkLeaks(t)
	l := listenUnix(t, 1)
	c := mustDial(t, l.where, l.where, &Options{Linger: time.Hour})
	mustSend(t, c, []byte("short visit"))
	must(t, wait(t, background(c.Close)))
	p := l.accept()
	if got := p.mustReadFrame(); string(got) != "short visit" {
		t.Fatalf("peer got %q", got)
	}
	p.mustEnd()
	p.close()
	l.close()
}

// A server that stops listening turns away the clients in its queue.
//
// Covers SES-5.
func TestUnixServerGoesBeforeAccept(t *testing.T) {
	needsReset(t)
	checkLeaks(t)
	l := listenUnix(t, 1)
	c := mustDial(t, l.where, l.where, nil)
	l.close()
	mustEndWith(t, c, EndReset, ErrReset)
	must(t, c.Close())
}

// Nothing is drained: the peer gets all that the kernel has, and then the end.
//
// Covers SES-31.
func TestUnixCloseWaitsForNothing(t *testing.T) {
	checkLeaks(t)
	c, p := openUnix(t, &Options{Linger: time.Hour})
	message := pattern(50_000, 1)
	mustSend(t, c, message)
	must(t, wait(t, background(c.Close)))
	if got := p.mustReadFrame(); !bytes.Equal(got, message) {
		t.Fatalf("peer got %s", brief(got))
	}
	p.mustEnd()
	p.close()
}

// The peer meets the end and no reset, even if it sends all the time.
//
// Covers SES-31, SES-34.
func TestUnixCloseDropsUnreadInput(t *testing.T) {
	for range 50 {
		c, p := openUnix(t, nil)
		mustSend(t, c, []byte("last"))
		flooding := background(func() error {
			for {
				if err := p.write(make([]byte, 100_000)); err != nil {
					return err
				}
			}
		})
		must(t, c.Close())
		if err := wait(t, flooding); err != syscall.EPIPE {
			t.Fatalf("the peer's write gives %v", err)
		}
		if got := p.mustReadFrame(); string(got) != "last" {
			t.Fatalf("peer got %q", got)
		}
		p.mustEnd()
		p.close()
	}
}

// A child that is just starting may hold a copy of the descriptor.
//
// Beyond the specification: the peer is told of the end even if a copy of the socket is open.
func TestUnixCloseEndsBothDirectionsOfCopies(t *testing.T) {
	for name, closeIt := range map[string]func(c *Channel) error{
		"the channel":          (*Channel).Close,
		"a stream that failed": func(c *Channel) error { return c.stream.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := openUnix(t, nil)
			copied := -1
			must(t, withDescriptor(c.stream.(*unixStream), func(fd uintptr) {
				var err error
				copied, err = syscall.Dup(int(fd))
				must(t, err)
			}))
			defer syscall.Close(copied)
			must(t, closeIt(c))
			if _, err := io.ReadAll(p); err != nil {
				t.Errorf("the peer's read gives %v", err)
			}
			if err := p.write([]byte("x")); err != syscall.EPIPE {
				t.Errorf("the peer's write gives %v", err)
			}
		})
	}
}

// The system shows how much the peer has not read yet, and whether it has gone.
//
// Covers SES-4, SES-52.
func TestUnixStreamTellsOfThePeer(t *testing.T) {
	c, p := openUnix(t, nil)
	if c.stream.unsent() > 0 || c.stream.isDead() {
		t.Errorf("%d bytes are unsent, dead: %v", c.stream.unsent(), c.stream.isDead())
	}
	mustSend(t, c, pattern(1000, 1))
	if unsent := c.stream.unsent(); unsent < 1000 && unsent != -1 {
		t.Errorf("%d bytes are unsent", unsent)
	}
	p.mustReadFrame()
	if unsent := c.stream.unsent(); unsent > 0 {
		t.Errorf("%d bytes are unsent", unsent)
	}
	p.closeWrite()
	mustEndWith(t, c, EndEOF, io.EOF)
	if c.stream.isDead() {
		t.Error("the other direction is dead as well")
	}
	mustSend(t, c, pattern(1000, 2))
	p.close()
	if dead := c.stream.isDead(); dead != (runtime.GOOS == "linux") {
		t.Errorf("dead: %v", dead)
	}
	must(t, c.Close())
	if c.stream.unsent() != -1 || !c.stream.isDead() {
		t.Error("a closed socket is alive")
	}
}

// Beyond the specification: a large message passes in few system calls.
func TestUnixSendBuffer(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/wmem_max")
	if err != nil {
		t.Skip("the limit of this system is not known")
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	c, _ := openUnix(t, nil)
	must(t, withDescriptor(c.stream.(*unixStream), func(fd uintptr) {
		size, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		// Linux doubles what it is asked for, since it counts its own structures, too.
		if want := 2 * min(sendBuffer, limit); err != nil || size != want {
			t.Errorf("SO_SNDBUF is %d, not %d: %v", size, want, err)
		}
	}))
}
