//go:build linux || darwin

package ipcchannel

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A transport that only the tests have: one end of a socket pair, handed over to a
// client that knows its name. It shows what a new transport takes: this file, and the
// registration that follows.
func init() { transportTypes = append(transportTypes, socketPair) }

const pairPrefix = "pair:"

var socketPair = &transportType{
	name:       "pair",
	form:       "pair:NAME",
	recognises: func(s string) bool { return strings.HasPrefix(s, pairPrefix) },
	parse:      parsePair,
	// The kernel resets the other end if this end is closed with unread input.
	drainsBeforeClose: true,
}

// pairName is the name under which one end of a pair is handed over.
type pairName string

func parsePair(in, out string) (endpoint, error) {
	if in != out {
		return nil, newError(CodeBadRendezvous, "in %q and out %q must be the same name", in, out)
	}
	return pairName(in), nil
}

// handedOver has the ends that are ready, by name.
var handedOver sync.Map

func (name pairName) dial(ctx context.Context, _ *Options, wait *pacing) (stream, error) {
	for {
		if conn, ok := handedOver.LoadAndDelete(name); ok {
			return &pairStream{conn.(*net.UnixConn)}, nil
		}
		if err := wait.wait(ctx, fmt.Errorf("nothing is handed over as %q", name)); err != nil {
			return nil, err
		}
	}
}

// pairStream is a stream over one end of a socket pair. What it writes is in the buffer
// of the other end at once.
type pairStream struct{ *net.UnixConn }

func (s *pairStream) unsent() int { return 0 }

func (s *pairStream) isAccepted() bool { return true }

func (s *pairStream) isDead() bool {
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	dead := true
	if err := raw.Control(func(fd uintptr) { dead = poll(int(fd), 0)&pollHup != 0 }); err != nil {
		return true
	}
	return dead
}

// makePair returns a pair: the end for the channel, and the peer.
func makePair(t testing.TB) (*net.UnixConn, *peer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	p := &peer{t: t, r: fds[1], w: fds[1]}
	t.Cleanup(p.close)
	file := os.NewFile(uintptr(fds[0]), "pair")
	defer file.Close()
	conn, err := net.FileConn(file)
	must(t, err)
	return conn.(*net.UnixConn), p
}

// openPair dials before the end is handed over.
func openPair(t testing.TB, options *Options) (*Channel, *peer) {
	t.Helper()
	name := pairPrefix + t.Name()
	conn, p := makePair(t)
	dialled := make(chan *Channel, 1)
	dialling := background(func() error {
		c, err := Dial(testContext(t), name, name, options)
		dialled <- c
		return err
	})
	handedOver.Store(pairName(name), conn)
	must(t, wait(t, dialling))
	c := <-dialled
	t.Cleanup(func() { c.Close() })
	return c, p
}

// Beyond the specification: a transport that only the tests have.
func TestNewTransportCarriesMessages(t *testing.T) {
	checkLeaks(t)
	c, p := openPair(t, nil)
	echoed := background(func() error {
		for range 3 {
			message, err := p.readFrame()
			if err != nil {
				return err
			}
			if err := p.write(frameOf(message)); err != nil {
				return err
			}
		}
		return nil
	})
	for i, size := range []int{1, 1000, huge} {
		mustSend(t, c, pattern(size, i))
		mustRead(t, c, pattern(size, i))
	}
	must(t, wait(t, echoed))
	p.mustWrite(frameOf(nil))
	mustEndWith(t, c, EndClean, io.EOF)
	must(t, c.Close())
	p.mustEnd()
}

// Without draining the peer would meet a reset after the close frame.
//
// Beyond the specification: a transport that only the tests have.
func TestNewTransportDrainsBeforeClose(t *testing.T) {
	checkLeaks(t)
	c, p := openPair(t, nil)
	mustSend(t, c, []byte("last"))
	p.mustWrite(frameOf([]byte("never read")))
	closed := background(c.Close)
	if got := p.mustReadFrame(); string(got) != "last" {
		t.Errorf("peer got %q", got)
	}
	p.mustEnd()
	p.close()
	must(t, wait(t, closed))
}

// Beyond the specification: a transport that only the tests have.
func TestNewTransportReportsEnds(t *testing.T) {
	checkLeaks(t)
	c, p := openPair(t, nil)
	p.mustWrite(frameOf([]byte("last")))
	p.close()
	mustRead(t, c, []byte("last"))
	mustEndWith(t, c, EndEOF, io.EOF)
	must(t, c.Close())
}

// Linux resets a socket pair whose other end is closed with unread input.
//
// Beyond the specification: a transport that only the tests have.
func TestNewTransportReportsReset(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system tells no reset from an end")
	}
	checkLeaks(t)
	c, p := openPair(t, nil)
	mustSend(t, c, []byte("never read"))
	p.mustWrite(frameOf([]byte("last")))
	p.close()
	mustRead(t, c, []byte("last"))
	mustEndWith(t, c, EndReset, syscall.ECONNRESET)
	must(t, c.Close())
}

// Beyond the specification: a transport that only the tests have.
func TestNewTransportIsRefusedAndTimesOutLikeAny(t *testing.T) {
	checkLeaks(t)
	for _, v := range []struct{ in, out, code, text string }{
		{"pair:a", "pair:b", "bad-rendezvous", "must be the same name"},
		{"pair:a", "/a", "bad-rendezvous", `in "pair:a" is for pair and out "/a" for named_pipe`},
		{"5000", "pair:a", "bad-rendezvous", `in "5000" is for tcp and out "pair:a" for pair`},
		{"pigeon", "pigeon", "bad-rendezvous", "from 1 to 65535 nor pair:NAME"},
		{"pair:a", "pair:a", "timeout", `nothing is handed over as "pair:a"`},
	} {
		_, err := Dial(testContext(t), v.in, v.out, &Options{Timeout: time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), v.text) || string(err.(*Error).Code) != v.code {
			t.Errorf("%s, %s: %v", v.in, v.out, err)
		}
	}
}
