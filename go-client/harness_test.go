//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

// generous is a time that only a broken channel takes.
const generous = 30 * time.Second

// transport makes a channel and the raw peer at its other end.
type transport struct {
	*transportType
	canReset bool // whether the system tells a reset from an end
	open     func(t testing.TB, options *Options) (*Channel, *peer)
}

var transports = []transport{
	{namedPipe, false, openPipes},
	{unixSocket, runtime.GOOS == "linux", openUnix},
	{tcp, true, openTCP},
}

// onEach runs a test over every transport, with a check for leaks.
func onEach(t *testing.T, test func(t *testing.T, tr transport)) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			checkLeaks(t)
			test(t, tr)
		})
	}
}

// testContext ends only if the test hangs.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	t.Cleanup(cancel)
	return ctx
}

func openPipes(t testing.TB, options *Options) (*Channel, *peer) {
	t.Helper()
	in, out := makePipes(t)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	t.Cleanup(func() { p.close() })
	opened := background(func() (err error) {
		p.w, err = syscall.Open(in, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		return err
	})
	c := mustDial(t, in, out, options)
	must(t, wait(t, opened))
	syscall.SetNonblock(p.r, false)
	return c, p
}

func openTCP(t testing.TB, options *Options) (*Channel, *peer) {
	t.Helper()
	l := listen(t, 1)
	c := mustDial(t, l.port, l.port, options)
	p := l.accept()
	syscall.Close(l.fd)
	l.fd = -1
	return c, p
}

func openUnix(t testing.TB, options *Options) (*Channel, *peer) {
	t.Helper()
	l := listenUnix(t, 1)
	c := mustDial(t, l.where, l.where, options)
	p := l.accept()
	l.close()
	return c, p
}

func mustDial(t testing.TB, in, out string, options *Options) *Channel {
	t.Helper()
	c, err := Dial(testContext(t), in, out, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// background runs f in a goroutine and returns a channel for its error.
func background(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

// wait returns the error of a function that background has started.
func wait(t testing.TB, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(generous):
		t.Fatal("still waiting")
		return nil
	}
}

// eventually waits for a condition that is about to come true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(generous); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// frameOf returns the frame of a message.
func frameOf(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// pattern returns a message that differs from those of other seeds.
func pattern(size, seed int) []byte {
	const period = 4099 // not a divisor of any size of a buffer
	b := make([]byte, size)
	x := uint32(seed)*2654435761 + uint32(size) + 1
	for i := range b[:min(size, period)] {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	for done := period; done < size; done *= 2 {
		copy(b[done:], b[:done])
	}
	return b
}

func mustRead(t testing.TB, c *Channel, want []byte) {
	t.Helper()
	got, err := c.ReadMessage(testContext(t))
	if err != nil {
		t.Fatalf("ReadMessage: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("ReadMessage returned %s, not %s", brief(got), brief(want))
	}
}

func mustSend(t testing.TB, c *Channel, message []byte) {
	t.Helper()
	if err := c.WriteMessage(testContext(t), message); err != nil {
		t.Fatalf("WriteMessage: %v", err)
	}
}

// mustEndWith checks that the session has ended, twice, since ends are sticky.
func mustEndWith(t testing.TB, c *Channel, reason EndReason, want error) {
	t.Helper()
	for range 2 {
		message, err := c.ReadMessage(testContext(t))
		if message != nil || !errors.Is(err, want) {
			t.Fatalf("ReadMessage returned %s, %v at the end, not %v", brief(message), err, want)
		}
		if want == io.EOF && err != io.EOF {
			t.Fatalf("ReadMessage returned %v, not io.EOF itself", err)
		}
		if c.EndReason() != reason {
			t.Fatalf("EndReason is %q, not %q", c.EndReason(), reason)
		}
	}
}

func brief(b []byte) string {
	if b == nil {
		return "nil"
	}
	return fmt.Sprintf("%d bytes %x", len(b), b[:min(len(b), 16)])
}

// checkLeaks fails the test if descriptors or goroutines are left at its end.
func checkLeaks(t *testing.T) {
	t.Helper()
	// Finalizers would close what was forgotten.
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(1<<30)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	// The first use of the poller opens descriptors of its own.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	descriptors, goroutines := countDescriptors(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		deadline := time.Now().Add(generous)
		for countDescriptors(t) > descriptors || runtime.NumGoroutine() > goroutines {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<16)
				t.Fatalf("%d descriptors, %d before; %d goroutines, %d before\n%s", countDescriptors(t), descriptors,
					runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func countDescriptors(t testing.TB) int {
	entries, err := os.ReadDir("/dev/fd")
	must(t, err)
	return len(entries)
}
