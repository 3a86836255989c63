//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
)

// A peer whose limit is smaller ends its session at the header of a large message. The
// error of the write says that this may be the reason.
//
// Covers SES-23, SES-26.
func TestFailureWithinMessageTellsOfLimit(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		written := background(func() error { return c.WriteMessage(testContext(t), pattern(huge, 1)) })
		mustReadSome(t, p)
		p.close()
		hint := fmt.Sprintf("a message of %d bytes was sent only in part: if the peer's limit is smaller, raise", huge)
		for _, err := range []error{wait(t, written), c.WriteMessage(testContext(t), []byte("x"))} {
			if !errors.Is(err, ErrPeerGone) && !errors.Is(err, ErrReset) || !strings.Contains(err.Error(), hint) {
				t.Errorf("error is %v", err)
			}
		}
	})
}

// Covers SES-3, SES-23.
func TestResetWithinMessageTellsOfLimit(t *testing.T) {
	for range 20 {
		c, p := openTCP(t, nil)
		read := background(func() error { _, err := c.ReadMessage(testContext(t)); return err })
		written := background(func() error { return c.WriteMessage(testContext(t), pattern(huge, 1)) })
		mustReadSome(t, p)
		p.reset()
		if err := wait(t, written); !errors.Is(err, ErrReset) && !errors.Is(err, ErrPeerGone) || !strings.Contains(err.Error(), "limit") {
			t.Errorf("error is %v", err)
		}
		if err := wait(t, read); !errors.Is(err, ErrReset) {
			t.Errorf("error is %v", err)
		}
		c.Close()
	}
}

// A peer that exits at the header of a message, all of which the kernel has taken,
// resets the connection. Reads and writes say that its limit may be the reason.
//
// Covers SES-5.
func TestResetAfterLargeMessageTellsOfLimit(t *testing.T) {
	for _, size := range []int{100_000, huge} {
		c, p := openTCP(t, nil)
		written := background(func() error { return c.WriteMessage(testContext(t), pattern(size, 1)) })
		mustReadSome(t, p)
		if size < huge {
			must(t, wait(t, written))
		}
		p.reset()
		hint := fmt.Sprintf("message of %d bytes", size)
		_, err := c.ReadMessage(testContext(t))
		if !errors.Is(err, ErrReset) || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "limit") {
			t.Errorf("a read gives %v", err)
		}
		if err := c.WriteMessage(testContext(t), []byte("x")); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("a write gives %v", err)
		}
		c.Close()
	}
}

// A peer that closes drops the rest of a message that exceeds its limit.
//
// Beyond the specification: the text of an error tells that the peer's limit may be smaller.
func TestPeerGoneAfterMessageOverDefaultLimit(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		c.large.Store(DefaultMaxMessageSize + 1)
		p.close()
		var err error
		for err == nil { // over TCP the first may pass
			err = c.WriteMessage(testContext(t), []byte("x"))
		}
		if !strings.Contains(err.Error(), "a message of 67108865 bytes may not have been read: if the peer's limit") {
			t.Errorf("error is %v", err)
		}
	})
}

// Covers SES-5.
func TestResetAfterSmallMessagesDoesNotTellOfLimit(t *testing.T) {
	c, p := openTCP(t, nil)
	must(t, c.WriteMessage(testContext(t), pattern(64<<10, 1)))
	p.reset()
	if _, err := c.ReadMessage(testContext(t)); !errors.Is(err, ErrReset) || strings.Contains(err.Error(), "limit") {
		t.Errorf("a read gives %v", err)
	}
}

// Beyond the specification: the text of an error tells of a limit only after a large message.
func TestFailureBetweenMessagesDoesNotTellOfLimit(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.close()
		var err error
		for err == nil { // over TCP the first may pass
			err = c.WriteMessage(testContext(t), []byte("x"))
		}
		if strings.Contains(err.Error(), "limit") {
			t.Errorf("error is %v", err)
		}
	})
}

// Nothing follows a write that failed, which a reader that comes later could take
// for the rest of the frame.
//
// Covers SES-23, SES-26, SES-36.
func TestNothingFollowsFailedWrite(t *testing.T) {
	// A pipe holds 64 KiB on Linux and macOS: the first frame is 4 bytes longer.
	for _, size := range []int{64 << 10, 100_000, huge} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
			t.Cleanup(p.close)
			opened := background(func() (err error) {
				p.w, err = syscall.Open(in, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
				return err
			})
			c := mustDial(t, in, out, nil)
			must(t, wait(t, opened))
			written := background(func() error { return c.WriteMessage(testContext(t), pattern(size, 1)) })
			eventually(t, "a full pipe", func() bool {
				_, err := readFD(p.r, nil)
				return err == nil && poll(p.r, pollIn)&pollIn != 0
			})
			p.closeRead()
			if err := wait(t, written); !errors.Is(err, ErrPeerGone) {
				t.Fatalf("error is %v", err)
			}
			p.r = mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
			if err := c.WriteMessage(testContext(t), []byte("later")); !errors.Is(err, ErrPeerGone) {
				t.Fatalf("error is %v", err)
			}
			must(t, c.Close())
			seen, err := io.ReadAll(p)
			must(t, err)
			wire := frameOf(pattern(size, 1))
			if len(seen) >= len(wire) || !bytes.Equal(seen, wire[:len(seen)]) {
				t.Fatalf("the next reader got %s", brief(seen))
			}
		})
	}
}

// A write that fails because of a reset, which a read has met first, gives the error
// reset, as later writes do.
//
// Covers SES-26.
func TestWritesAreToldOfTheResetThatReadsMet(t *testing.T) {
	f := newFakeStream()
	begun, ended := make(chan struct{}), make(chan struct{})
	f.write = func([]byte) (int, error) {
		close(begun)
		<-ended
		return 0, syscall.EPIPE
	}
	f.read = func([]byte) (int, error) { return 0, syscall.ECONNRESET }
	c := f.channel(nil)
	written := background(func() error { return c.WriteMessage(testContext(t), []byte("x")) })
	<-begun
	mustEndWith(t, c, EndReset, ErrReset)
	close(ended)
	for _, err := range []error{wait(t, written), c.WriteMessage(testContext(t), []byte("y"))} {
		if !errors.Is(err, ErrReset) {
			t.Errorf("error is %v", err)
		}
	}
	must(t, c.Close())
}

// A write under way that fails once Close was called gives the error closed.
//
// Covers SES-26, SES-33.
func TestOwnCloseComesBeforeTheFailureOfAWrite(t *testing.T) {
	f := newFakeStream()
	begun, failed := make(chan struct{}), make(chan struct{})
	f.write = func([]byte) (int, error) {
		close(begun)
		<-failed
		return 0, syscall.EPIPE
	}
	c := f.channel(nil)
	written := background(func() error { return c.WriteMessage(testContext(t), []byte("x")) })
	<-begun
	closed := background(c.Close)
	eventually(t, "Close has begun", c.isClosing)
	close(failed)
	if err := wait(t, written); err != ErrClosed {
		t.Errorf("error is %v", err)
	}
	must(t, wait(t, closed))
}

// The kernel reports a reset only once: if that was to a write, reads give the error of
// that write, and so the size of the message that may be why.
//
// Covers SES-3.
func TestReadsAreToldOfTheResetThatAWriteMet(t *testing.T) {
	f := newFakeStream()
	c := f.channel(nil)
	must(t, c.WriteMessage(testContext(t), pattern(100_000, 1)))
	f.write = func([]byte) (int, error) { return 0, syscall.ECONNRESET }
	failure := c.WriteMessage(testContext(t), []byte("x"))
	if !strings.Contains(failure.Error(), "message of 100000 bytes") {
		t.Errorf("a write gives %v", failure)
	}
	if _, err := c.ReadMessage(testContext(t)); err != failure || c.EndReason() != EndReset {
		t.Errorf("a read gives %v, and the end reason is %q", err, c.EndReason())
	}
	must(t, c.Close())
}

// A write that fails in any other way says nothing of the input, which is read to its end.
//
// Covers SES-24, SES-26, SES-36.
func TestAnyOtherFailedWriteFindsThePeerGone(t *testing.T) {
	f := newFakeStream()
	f.write = func([]byte) (int, error) { return 0, syscall.EIO }
	input := bytes.NewReader(frameOf([]byte("still read")))
	f.read = input.Read
	c := f.channel(nil)
	for range 2 {
		if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) || !errors.Is(err, syscall.EIO) {
			t.Errorf("error is %v", err)
		}
	}
	mustRead(t, c, []byte("still read"))
	mustEndWith(t, c, EndEOF, io.EOF)
	f.write = func([]byte) (int, error) {
		t.Error("something is sent after a failed write")
		return 0, syscall.EPIPE
	}
	must(t, c.Close())
}
