//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Covers RDV-9, RDV-10, RDV-43.
func TestTCPListenerComesLate(t *testing.T) {
	checkLeaks(t)
	fd := bound(t)
	l := &listener{t: t, fd: fd, port: localPort(t, fd)}
	defer syscall.Close(fd)
	if _, err := Dial(testContext(t), l.port, l.port, &Options{Timeout: -1}); !errors.Is(err, ErrTimeout) {
		t.Fatalf("error is %v", err)
	}
	dialled := make(chan *Channel, 1)
	failed := background(func() error {
		c, err := Dial(testContext(t), "localhost:"+l.port, "localhost:"+l.port, nil)
		dialled <- c
		return err
	})
	must(t, syscall.Listen(fd, 1))
	p := l.accept()
	must(t, wait(t, failed))
	c := <-dialled
	mustSend(t, c, []byte("hello"))
	if got := p.mustReadFrame(); string(got) != "hello" {
		t.Fatalf("peer got %q", got)
	}
	p.close()
	must(t, c.Close())
}

// Covers RDV-9.
func TestTCPOneTryConnects(t *testing.T) {
	checkLeaks(t)
	l := listen(t, 1)
	c, err := Dial(testContext(t), l.port, l.port, &Options{Timeout: -1})
	must(t, err)
	l.accept().close()
	must(t, c.Close())
}

// While the server's queue is full the handshake gets no answer, and Dial ends on time.
//
// Covers RDV-9, RDV-10.
func TestTCPFullBacklog(t *testing.T) {
	checkLeaks(t)
	l := listen(t, 0)
	var opened []*Channel
	defer func() {
		syscall.Close(l.fd)
		l.fd = -1
		for _, c := range opened {
			c.Close()
		}
	}()
	for range 10 {
		const timeout = 60 * time.Millisecond
		start := time.Now()
		c, err := Dial(testContext(t), l.port, l.port, &Options{Timeout: timeout})
		if err == nil {
			opened = append(opened, c)
			continue
		}
		if passed := time.Since(start); !errors.Is(err, ErrTimeout) || passed < timeout || passed > generous/2 {
			t.Fatalf("%v after %v", err, passed)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		if _, err := Dial(ctx, l.port, l.port, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v", err)
		}
		return
	}
	t.Fatal("the backlog is never full")
}

// A dialer bound to the port itself does on purpose what may happen by chance.
//
// Covers RDV-44.
func TestTCPSelfConnectionIsRefused(t *testing.T) {
	checkLeaks(t)
	fd := bound(t)
	addr := netip.MustParseAddrPort("127.0.0.1:" + localPort(t, fd))
	syscall.Close(fd)
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(addr)}
	_, err := dialTCP(testContext(t), dialer, addr, newPacing(0))
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, errSelf) {
		t.Fatalf("error is %v", err)
	}
}

// Linux answers EINVAL, of which no rule says what it means, if an address of one link
// names no link. The error of the timeout says what was in the way.
//
// Covers RDV-14.
func TestTCPUnknownErrorOfConnect(t *testing.T) {
	checkLeaks(t)
	_, err := dialTCP(testContext(t), net.Dialer{}, netip.MustParseAddrPort("[fe80::1]:5000"), newPacing(0))
	if errors.Is(err, ErrBadRendezvous) {
		t.Skip("no IPv6 here")
	}
	var errno syscall.Errno
	if !errors.Is(err, ErrTimeout) || !errors.As(err, &errno) {
		t.Fatalf("error is %v", err)
	}
}

// Binding to an address that this machine does not have gives the same error as a connect
// that finds no free port, or no ::1.
//
// Covers RDV-11.
func TestTCPAddressNotAvailable(t *testing.T) {
	for _, c := range []struct {
		local, remote string
		never         bool
	}{
		{"192.0.2.1:0", "127.0.0.1:5000", false},
		{"[2001:db8::1]:0", "[::1]:5000", true},
	} {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.local))}
		_, err := dialTCP(testContext(t), dialer, netip.MustParseAddrPort(c.remote), newPacing(time.Hour))
		called := errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
		if called || !errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, ErrBadRendezvous) != c.never {
			t.Errorf("from %s: error is %v", c.local, err)
		}
	}
}

// Covers RDV-45.
func TestTCPNoDelay(t *testing.T) {
	c, _ := openTCP(t, nil)
	raw, err := c.stream.(*tcpStream).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		on, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
		if err != nil || on == 0 {
			t.Errorf("TCP_NODELAY is %d, %v", on, err)
		}
	}))
}

// A server that has another client resets ours.
//
// Covers RDV-49, SES-5, SES-26.
func TestTCPReset(t *testing.T) {
	checkLeaks(t)
	c, p := openTCP(t, nil)
	p.reset()
	mustEndWith(t, c, EndReset, ErrReset)
	if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrReset) {
		t.Fatalf("error is %v", err)
	}
	must(t, c.Close())
}

// Covers SES-23.
func TestTCPWriteAfterPeerLeft(t *testing.T) {
	checkLeaks(t)
	c, p := openTCP(t, nil)
	p.close()
	first := c.WriteMessage(testContext(t), []byte("x"))
	second := c.WriteMessage(testContext(t), []byte("x"))
	if first == nil && second == nil {
		t.Fatal("two writes succeeded")
	}
}

// slowWrite tells of a failed Write only when a Read has failed.
type slowWrite struct {
	stream
	failure    *sync.Once
	readFailed chan struct{}
}

func (s slowWrite) Read(p []byte) (int, error) {
	n, err := s.stream.Read(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.failure.Do(func() { close(s.readFailed) })
	}
	return n, err
}

func (s slowWrite) Write(p []byte) (int, error) {
	n, err := s.stream.Write(p)
	if err != nil {
		<-s.readFailed
	}
	return n, err
}

// The system tells of a reset once, perhaps to a Write; the Read then sees an end.
//
// Covers SES-3, SES-23.
func TestTCPResetOfBoth(t *testing.T) {
	for range 20 {
		c, p := openTCP(t, nil)
		c.stream = slowWrite{c.stream, new(sync.Once), make(chan struct{})}
		written := background(func() error { return c.WriteMessage(testContext(t), make([]byte, 32<<20)) })
		read := background(func() error {
			_, err := c.ReadMessage(testContext(t))
			return err
		})
		mustReadSome(t, p) // the writer waits, or is about to
		p.reset()
		if err := wait(t, read); !errors.Is(err, ErrReset) || c.EndReason() != EndReset {
			t.Fatalf("error is %v, EndReason %q", err, c.EndReason())
		}
		// If the reader met the reset first, the write may get only EPIPE.
		if err := wait(t, written); !errors.Is(err, ErrReset) && !errors.Is(err, ErrPeerGone) {
			t.Fatalf("error is %v", err)
		}
	}
}

// The error of the option Timeout does not match that of a context.
//
// Covers RDV-9.
func TestTCPErrorsOfDial(t *testing.T) {
	l := listen(t, 0)
	defer func() { syscall.Close(l.fd); l.fd = -1 }()
	for range 10 {
		c, err := Dial(context.Background(), l.port, l.port, &Options{Timeout: 60 * time.Millisecond})
		if err == nil {
			defer c.Close()
			continue
		}
		if !errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v", err)
		}
		return
	}
	t.Fatal("the backlog is never full")
}
