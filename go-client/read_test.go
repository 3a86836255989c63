//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Covers FRM-2.
func TestSizes(t *testing.T) {
	sizes := []int{1, 4092, 65531, 65532, 65533, 65534, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 5 << 20}
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		// The peer sends every message back, in pieces of its own.
		echo := background(func() error {
			_, err := io.Copy(writerFunc(func(b []byte) (int, error) { return len(b), p.write(b) }), p)
			return err
		})
		for i, size := range sizes {
			message := pattern(size, i)
			written := background(func() error { return c.WriteMessage(testContext(t), message) })
			mustRead(t, c, message)
			must(t, wait(t, written))
		}
		must(t, c.Close())
		<-echo // over pipes it gets EPIPE as it sends the close frame back
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A channel reads at most 64 KiB ahead of the application, and nothing between two calls.
// So a peer whose messages are not read comes to wait in its write.
//
// Covers SES-12.
func TestReadAheadIsBounded(t *testing.T) {
	for _, size := range []int{1, 1000, 50_000, 200_000} {
		t.Run(sprint(size, " bytes"), func(t *testing.T) {
			f := newFakeStream()
			wire, given := frameOf(pattern(size, 1)), 0
			f.read = func(p []byte) (int, error) {
				for i := range p { // as much as it is asked for
					p[i] = wire[(given+i)%len(wire)]
				}
				given += len(p)
				return len(p), nil
			}
			c := f.channel(nil)
			for taken := 0; taken < 1<<20; taken += len(wire) {
				if ahead := given - taken; ahead > 64<<10 {
					t.Fatalf("read %d bytes ahead", ahead)
				}
				mustRead(t, c, wire[headerSize:])
			}
		})
	}
}

// Covers SES-11.
func TestManyReaders(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const count = 2000
		sent := background(func() error {
			defer p.closeWrite()
			for i := range count {
				if err := p.write(frameOf(pattern(4, i))); err != nil {
					return err
				}
			}
			return nil
		})
		var mu sync.Mutex
		seen := map[string]int{}
		var readers []<-chan error
		for range 4 {
			readers = append(readers, background(func() error {
				for {
					m, err := c.ReadMessage(testContext(t))
					if err != nil {
						return err
					}
					mu.Lock()
					seen[string(m)]++
					mu.Unlock()
				}
			}))
		}
		for _, r := range readers {
			if err := wait(t, r); err != io.EOF {
				t.Fatalf("error is %v", err)
			}
		}
		must(t, wait(t, sent))
		for i := range count {
			if n := seen[string(pattern(4, i))]; n != 1 {
				t.Fatalf("message %d was read %d times", i, n)
			}
		}
	})
}

// Covers FRM-9, FRM-10.
func TestHeaderCostsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 1<<31 - 1})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p.mustWrite([]byte{0x7f, 0xff, 0xff, 0xff}, pattern(1000, 1))
		p.closeWrite()
		mustEndWith(t, c, EndTruncated, io.ErrUnexpectedEOF)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
			t.Fatalf("%d bytes were allocated", n)
		}
	})
}

// Covers FRM-8, SES-1, SES-26, SES-37.
func TestTooLargeEndsSession(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 10})
		p.mustWrite(frameOf(pattern(10, 1)), []byte{0, 0, 0, 11})
		mustRead(t, c, pattern(10, 1))
		mustEndWith(t, c, EndTooLarge, ErrTooLarge)
		if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("WriteMessage returned %v", err)
		}
		closed := background(c.Close)
		p.mustEnd()
		p.close()
		must(t, wait(t, closed))
		mustEndWith(t, c, EndTooLarge, ErrTooLarge)
	})
}

// Covers SES-1, SES-4, SES-31.
func TestHalfClose(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("last")), make([]byte, 4))
		p.closeWrite()
		mustRead(t, c, []byte("last"))
		mustEndWith(t, c, EndClean, io.EOF)
		mustSend(t, c, []byte("answer"))
		if got := p.mustReadFrame(); string(got) != "answer" {
			t.Fatalf("peer got %q", got)
		}
		must(t, c.Close())
		p.mustEnd()
		mustEndWith(t, c, EndClean, io.EOF)
	})
}

// A forked child of the peer, or a stranger, may hold the descriptors: the
// close frame ends the session all the same.
//
// Covers FRM-3, SES-5.
func TestCloseFrameEndsHeldStream(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		held, err := syscall.Dup(p.w)
		must(t, err)
		defer syscall.Close(held)
		p.mustWrite(frameOf([]byte("last")), make([]byte, 4))
		p.close()
		mustRead(t, c, []byte("last"))
		mustEndWith(t, c, EndClean, io.EOF)
	})
}

// Covers FRM-10.
func TestMessages(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("a")), frameOf([]byte("b")), frameOf([]byte("c")), []byte{0})
		p.close()
		var got []string
		note := func(m []byte, err error) {
			if err != nil {
				m = []byte(err.Error())
			}
			got = append(got, string(m))
		}
		c.Messages(testContext(t))(func(m []byte, err error) bool {
			note(m, err)
			return len(got) < 2
		})
		c.Messages(testContext(t))(func(m []byte, err error) bool { // leaving the loop has lost nothing
			note(m, err)
			return true
		})
		if want := "[a b c ipcchannel: stream ended after 1 of the 4 header bytes]"; sprint(got) != want {
			t.Fatalf("got %v, not %s", got, want)
		}
	})
}

// Covers FRM-3.
func TestMessagesEndsQuietly(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("a")), make([]byte, 4))
		n := 0
		c.Messages(testContext(t))(func(m []byte, err error) bool {
			must(t, err)
			n++
			return true
		})
		if n != 1 {
			t.Fatalf("%d messages", n)
		}
	})
}

// Beyond the specification: ReadMessageInto uses the memory that it is lent.
func TestReadIntoReusesMemory(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		buf := make([]byte, 5, 200_000)
		for _, size := range []int{1, 70_000, 200_000, 10} {
			sent := background(func() error { return p.write(frameOf(pattern(size, 1))) })
			got, err := c.ReadMessageInto(testContext(t), buf)
			must(t, err)
			must(t, wait(t, sent))
			if !bytes.Equal(got, pattern(size, 1)) || &got[0] != &buf[0] || cap(got) != cap(buf) {
				t.Fatalf("%s, capacity %d", brief(got), cap(got))
			}
		}
		p.close()
		if got, err := c.ReadMessageInto(testContext(t), buf); err != io.EOF || len(got) != 0 || cap(got) != cap(buf) {
			t.Fatalf("%s, %v", brief(got), err)
		}
	})
}

// Lent memory is used, although the message has begun to arrive without it.
//
// Covers SES-10.
func TestReadIntoAfterCancelledRead(t *testing.T) {
	c, p := openTCP(t, nil)
	message := pattern(300_000, 2)
	wire := frameOf(message)
	p.mustWrite(wire[:50_000])
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.ReadMessage(short); err != context.DeadlineExceeded {
		t.Fatalf("error is %v", err)
	}
	sent := background(func() error { return p.write(wire[50_000:]) })
	buf := make([]byte, 0, 400_000)
	got, err := c.ReadMessageInto(testContext(t), buf)
	must(t, err)
	must(t, wait(t, sent))
	if !bytes.Equal(got, message) {
		t.Fatal("another message")
	}
	if &got[0] != &buf[:1][0] {
		t.Fatal("in other memory")
	}
}
