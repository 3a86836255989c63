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

// openSilent returns a channel whose peer has only its reading end open: the channel took
// the writing end of a stray opener for the peer's.
func openSilent(t *testing.T) (c *Channel, p *peer, in string) {
	t.Helper()
	in, out := makePipes(t)
	p = &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	t.Cleanup(func() { p.close() })
	stray := -1
	passing := background(func() (err error) {
		stray, err = syscall.Open(in, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		return err
	})
	c = mustDial(t, in, out, nil)
	must(t, wait(t, passing))
	syscall.Close(stray)
	return c, p, in
}

// A stray opener that opens and closes the pipe does not end the session, and costs one
// look.
//
// Covers RDV-26.
func TestStrayOpener(t *testing.T) {
	checkLeaks(t)
	c, p, in := openSilent(t)
	falseEnds := notesFalseEnds(c)
	got := background(func() error {
		mustRead(t, c, []byte("at last"))
		return nil
	})
	mustComeTrue(t, falseEnds) // that of openSilent
	for range 20 {
		syscall.Close(mustOpen(t, in, syscall.O_WRONLY))
		mustComeTrue(t, falseEnds)
	}
	p.w = mustOpen(t, in, syscall.O_WRONLY)
	p.mustWrite(frameOf([]byte("at last")), make([]byte, 4))
	must(t, wait(t, got))
	mustEndWith(t, c, EndClean, io.EOF)
	if left := len(falseEnds); left > 60 {
		t.Fatalf("%d further looks: a busy loop", left)
	}
}

// notesFalseEnds returns where the channel tells of each try to read that is over: whether
// it has met the end of the pipe and not taken it for that of the session.
func notesFalseEnds(c *Channel) <-chan bool {
	s := c.stream.(*pipeStream)
	looks := make(chan bool, 10_000)
	s.readOnce = func(fd uintptr) bool {
		done := s.tryRead(fd)
		looks <- !done && s.n == 0 && s.err == nil
		return done
	}
	return looks
}

func mustComeTrue(t *testing.T, looks <-chan bool) {
	t.Helper()
	for timeout := time.After(generous); ; {
		select {
		case look := <-looks:
			if look {
				return
			}
		case <-timeout:
			t.Fatal("never")
		}
	}
}

// A peer that leaves before it has sent a byte ends the session, in whichever
// order its ends are closed.
//
// Covers RDV-26, RDV-31, SES-5.
func TestPeerLeavesSilently(t *testing.T) {
	for name, order := range map[string][]func(*peer){
		"never opened its writing end": {(*peer).closeRead},
		"writing end first":            {(*peer).closeWrite, (*peer).closeRead},
		"reading end first":            {(*peer).closeRead, (*peer).closeWrite},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			c, p, in := openSilent(t)
			if len(order) == 2 {
				p.w = mustOpen(t, in, syscall.O_WRONLY)
			}
			ended := background(func() error {
				mustEndWith(t, c, EndEOF, io.EOF)
				return nil
			})
			for _, step := range order {
				// Let the reader see each state by itself.
				eventually(t, "the reader waits", func() bool { return len(c.reading.slot) == 1 })
				step(p)
			}
			must(t, wait(t, ended))
		})
	}
}

// watchedConn is the raw connection of out; it tells of each look that has found the peer
// still there.
type watchedConn struct {
	syscall.RawConn
	stays chan<- bool
}

func (w watchedConn) Read(look func(fd uintptr) bool) error {
	return w.RawConn.Read(func(fd uintptr) bool {
		gone := look(fd)
		w.stays <- !gone
		return gone
	})
}

// As above, when the reader has seen the false end and waits, and the watcher waits, too.
//
// Covers RDV-26, SES-5.
func TestPeerLeavesAfterFalseEnd(t *testing.T) {
	checkLeaks(t)
	c, p, in := openSilent(t)
	p.w = mustOpen(t, in, syscall.O_WRONLY)
	s := c.stream.(*pipeStream)
	stays := make(chan bool, 1000)
	s.outRaw = watchedConn{s.outRaw, stays}
	falseEnds := notesFalseEnds(c)
	ended := background(func() error {
		mustEndWith(t, c, EndEOF, io.EOF)
		return nil
	})
	p.closeWrite()
	mustComeTrue(t, falseEnds)
	mustComeTrue(t, stays)
	p.closeRead()
	must(t, wait(t, ended))
}

// The poller reports the error of a full pipe once; by then a stray opener may read the
// pipe, and leave again.
//
// Covers RDV-31, SES-5.
func TestPeerIsFollowedByStrayOpener(t *testing.T) {
	checkLeaks(t)
	c, p, _ := openSilent(t)
	out := c.stream.(*pipeStream).out.Name()
	fillPipe(t, out)
	p.closeRead()
	p.r = mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
	ended := background(func() error {
		mustEndWith(t, c, EndEOF, io.EOF)
		return nil
	})
	eventually(t, "the reader waits", func() bool { return len(c.reading.slot) == 1 })
	p.closeRead()
	must(t, wait(t, ended))
}

// Covers SES-31, SES-32, SES-33.
func TestCloseDuringFalseEnd(t *testing.T) {
	checkLeaks(t)
	c, p, _ := openSilent(t)
	reading := background(func() error {
		_, err := c.ReadMessage(testContext(t))
		return err
	})
	eventually(t, "the reader waits", func() bool { return len(c.reading.slot) == 1 })
	must(t, c.Close())
	if err := wait(t, reading); !errors.Is(err, ErrClosed) {
		t.Fatalf("error is %v", err)
	}
	syscall.SetNonblock(p.r, false)
	p.mustEnd()
}

// Between a read that finds nothing and the look for the peer, the peer may come, write
// and leave.
//
// Covers RDV-26, SES-2.
func TestPeerComesAndLeavesBetweenLooks(t *testing.T) {
	checkLeaks(t)
	c, p, in := openSilent(t)
	s := c.stream.(*pipeStream)
	s.read = func(fd int, b []byte) (int, error) {
		s.read = readFD
		n, err := readFD(fd, b)
		p.w = mustOpen(t, in, syscall.O_WRONLY)
		p.mustWrite(frameOf([]byte("quick")))
		p.close()
		return n, err
	}
	mustRead(t, c, []byte("quick"))
	mustEndWith(t, c, EndEOF, io.EOF)
}

// Where the system does not report the end of a pipe, the stream looks for it again and again.
//
// Beyond the specification: looking again where the system does not report the end of a pipe.
func TestRecheck(t *testing.T) {
	checkLeaks(t)
	c, p := openPipes(t, nil)
	s := c.stream.(*pipeStream)
	s.recheck = time.Millisecond
	must(t, s.SetReadDeadline(time.Time{}))
	must(t, s.SetWriteDeadline(time.Time{}))
	message := pattern(500_000, 1)
	for range 20 {
		sent := background(func() error { return c.WriteMessage(testContext(t), message) })
		short, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		if _, err := c.ReadMessage(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v", err)
		}
		cancel()
		p.mustReadFrame()
		must(t, wait(t, sent))
		p.mustWrite(frameOf([]byte("x")))
		mustRead(t, c, []byte("x"))
	}
	p.close()
	mustEndWith(t, c, EndEOF, io.EOF)
}
