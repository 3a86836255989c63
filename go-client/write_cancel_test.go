//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

// A write that has begun when its context ends is completed; the frames after
// it are whole.
//
// Covers SES-21.
func TestCancelledWriteIsCompleted(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		message := pattern(huge, 1)
		ctx, cancel := context.WithCancel(context.Background())
		begun := background(func() error { return c.WriteMessage(ctx, message) })
		first := make([]byte, 1)
		_, err := io.ReadFull(p, first) // now it has begun
		must(t, err)
		waiting := background(func() error { return c.WriteMessage(ctx, []byte("not begun")) })
		cancel()
		if err := wait(t, begun); err != context.Canceled {
			t.Fatalf("error is %v", err)
		}
		if err := wait(t, waiting); err != context.Canceled {
			t.Fatalf("error is %v", err)
		}
		want := frameOf(message)
		clear(message) // it is the caller's again
		last := background(func() error { return c.WriteMessage(testContext(t), []byte("last")) })
		got := make([]byte, len(want)-1)
		_, err = io.ReadFull(p, got)
		must(t, err)
		if !bytes.Equal(got, want[1:]) {
			t.Fatal("the frame is not whole")
		}
		if got := p.mustReadFrame(); string(got) != "last" {
			t.Fatalf("peer got %q", got)
		}
		must(t, wait(t, last))
	})
}

// A write that has not begun when its context ends sends nothing.
//
// Covers SES-21.
func TestCancelledWriteOnFullPipe(t *testing.T) {
	checkLeaks(t)
	c, p := openPipes(t, nil)
	filler := fillPipe(t, c.stream.(*pipeStream).out.Name())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.WriteMessage(ctx, []byte("nothing")); err != context.DeadlineExceeded {
		t.Fatalf("error is %v", err)
	}
	_, err := io.ReadFull(p, make([]byte, filler))
	must(t, err)
	mustSend(t, c, []byte("something"))
	if got := p.mustReadFrame(); string(got) != "something" {
		t.Fatalf("peer got %q", got)
	}
}

// fillPipe fills a pipe to the last byte and returns how many there were.
func fillPipe(t *testing.T, path string) int {
	t.Helper()
	fd := mustOpen(t, path, syscall.O_WRONLY|syscall.O_NONBLOCK)
	defer syscall.Close(fd)
	total := 0
	for size := 4096; size > 0; {
		n, err := syscall.Write(fd, make([]byte, size))
		if err == syscall.EAGAIN {
			size /= 2
			continue
		}
		must(t, err)
		total += n
	}
	return total
}

// Cancelled at any moment under load, each message arrives whole or not at all,
// and in order.
//
// Covers SES-21.
func TestCancelledWritesUnderLoad(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const count = 150
		sent := background(func() error {
			for i := range count {
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Microsecond)
				err := c.WriteMessage(ctx, frameOf(pattern(100_000, i)))
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
			}
			return c.WriteMessage(testContext(t), []byte("end"))
		})
		last := -1
		for {
			got := p.mustReadFrame()
			if string(got) == "end" {
				break
			}
			i := last + 1
			for i < count && !bytes.Equal(got, frameOf(pattern(100_000, i))) {
				i++
			}
			if i == count {
				t.Fatalf("after message %d the peer got %s", last, brief(got))
			}
			last = i
		}
		must(t, wait(t, sent))
	})
}
