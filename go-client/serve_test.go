//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
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

func connectedPair(t testing.TB) (conns [2]*net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		file.Close()
		must(t, err)
		conns[i] = conn.(*net.UnixConn)
	}
	return conns
}

func echoRequest(_ context.Context, payload []byte) ([]byte, error) { return payload, nil }

// untilCancelled tells when it runs, and when it has been cancelled.
func untilCancelled(running, over chan<- bool) Handler {
	return func(ctx context.Context, _ []byte) ([]byte, error) {
		running <- true
		<-ctx.Done()
		over <- true
		return nil, ctx.Err()
	}
}

// serveIn serves in the background.
func serveIn(ctx context.Context, r *RequestChannel, handler Handler) <-chan error {
	return background(func() error { return r.Serve(ctx, handler) })
}

// Covers REQ-9.
func TestErrorsOfHandlers(t *testing.T) {
	for name, test := range map[string]struct {
		fail func() error
		code Code
		text string
	}{
		"chosen":      {func() error { return &RequestError{"not-found", "no x"} }, "not-found", "no x"},
		"wrapped":     {func() error { return fmt.Errorf("y: %w", &RequestError{"not-found", "no x"}) }, "not-found", "no x"},
		"other":       {func() error { return io.ErrNoProgress }, CodeFailed, io.ErrNoProgress.Error()},
		"panic":       {func() error { panic("lost") }, CodeFailed, "panic: lost"},
		"an error":    {func() error { panic(io.ErrNoProgress) }, CodeFailed, "panic: " + io.ErrNoProgress.Error()},
		"bad code":    {func() error { return &RequestError{"Not found", "x"} }, CodeFailed, `"Not found": a code has 1 to 64 bytes of a-z`},
		"no code":     {func() error { return &RequestError{Text: "x"} }, CodeFailed, `the code ""`},
		"bad text":    {func() error { return &RequestError{"e", "a\xffb"} }, "e", "a\ufffdb"},
		"own context": {func() error { return context.Canceled }, CodeFailed, context.Canceled.Error()},
		"nil pointer": {func() error { return (*RequestError)(nil) }, CodeFailed, "nil pointer"},
		"bad method":  {func() error { return (*net.OpError)(nil) }, CodeFailed, "nil pointer"},
		"exit":        {func() error { runtime.Goexit(); return nil }, CodeFailed, "ended its goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			asking, answering := pairOfChannels(t)
			fails := func(context.Context, []byte) ([]byte, error) { return nil, test.fail() }
			served := serveIn(context.Background(), NewRequestChannel(answering, WithConcurrency(1)), fails)
			r := NewRequestChannel(asking)
			for range 3 { // the session goes on
				_, err := r.Call(testContext(t), nil)
				var got *RequestError
				if !errors.As(err, &got) || got.Code != test.code || !strings.Contains(got.Text, test.text) {
					t.Fatalf("the call returned %v", err)
				}
			}
			must(t, asking.Close())
			must(t, wait(t, served))
		})
	}
}

// Both ends ask for more than the system has room for, in both directions, and answer.
//
// Covers REQ-11.
func TestBothEndsCallLargePayloads(t *testing.T) {
	checkLeaks(t)
	left, right := pairOfChannels(t)
	var served []<-chan error
	var callers sync.WaitGroup
	for _, c := range []*Channel{left, right} {
		r := NewRequestChannel(c, WithServe())
		served = append(served, serveIn(context.Background(), r, echoRequest))
		for seed := range 8 {
			callers.Add(1)
			go func() {
				defer callers.Done()
				payload := pattern(4<<20, seed)
				got, err := r.Call(testContext(t), payload)
				if err != nil || !bytes.Equal(got, payload) {
					t.Errorf("call %d returned %s, %v", seed, brief(got), err)
				}
			}()
		}
	}
	callers.Wait()
	must(t, left.Close())
	if err := wait(t, served[0]); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve of the end that closed returned %v", err)
	}
	must(t, wait(t, served[1]))
	must(t, right.Close())
}

// Covers REQ-16.
func TestEndOfSessionEndsHandlers(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(c *Channel, p *peer)
		want error
	}{
		"clean":     {func(_ *Channel, p *peer) { p.mustWrite(frameOf(nil)) }, nil},
		"eof":       {func(_ *Channel, p *peer) { p.closeWrite() }, nil},
		"truncated": {func(_ *Channel, p *peer) { p.mustWrite([]byte{0}); p.closeWrite() }, ErrTruncated},
		"reset":     {func(_ *Channel, p *peer) { p.reset() }, ErrReset},
		"closed":    {func(c *Channel, _ *peer) { c.Close() }, ErrClosed},
		"bad":       {func(_ *Channel, p *peer) { p.mustWrite(frameOf([]byte("hello"))) }, ErrBadMessage},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			c, p := openTCP(t, nil)
			running, over := make(chan bool, 2), make(chan bool, 2)
			served := serveIn(context.Background(), NewRequestChannel(c, WithConcurrency(1)), untilCancelled(running, over))
			p.mustWrite(requestFrame(kindRequest, 1, ""), requestFrame(kindRequest, 2, ""))
			<-running
			test.end(c, p)
			<-over
			if err := wait(t, served); !errors.Is(err, test.want) {
				t.Errorf("Serve returned %v", err)
			}
			must(t, c.Close())
			if test.want != ErrReset {
				p.mustEnd()
			}
		})
	}
}

// mustQueueOne waits until a request waits for its turn.
func mustQueueOne(t *testing.T, r *RequestChannel) {
	t.Helper()
	eventually(t, "a request waits for its turn", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.queue) == 1
	})
}

// After ctx has ended, the session goes on without a handler.
//
// Covers REQ-6, REQ-8.
func TestServeEndsWithContext(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c, WithConcurrency(1), WithServe())
	ctx, cancel := context.WithCancel(context.Background())
	running, over := make(chan bool, 2), make(chan bool, 2)
	handler := untilCancelled(running, over)
	served := serveIn(ctx, r, func(ctx context.Context, payload []byte) ([]byte, error) {
		defer func() {
			time.Sleep(10 * time.Millisecond) // Serve does not return meanwhile
			over <- true
		}()
		return handler(ctx, payload)
	})
	p.mustWrite(requestFrame(kindRequest, 1, ""), requestFrame(kindRequest, 2, ""))
	<-running
	mustQueueOne(t, r)
	cancel()
	if err := wait(t, served); err != context.Canceled || len(over) != 2 {
		t.Errorf("Serve returned %v before its handler", err)
	}
	p.mustWrite(requestFrame(kindRequest, 3, ""))
	codes := map[uint32]Code{}
	for range 3 {
		m, err := parseRequestMessage(p.mustReadFrame())
		must(t, err)
		codes[m.id] = m.err.Code
	}
	if codes[1] != CodeCancelled || codes[2] != CodeCancelled || codes[3] != CodeUnserved {
		t.Errorf("the requests were answered with %v", codes)
	}
	result := callIn(testContext(t), r, nil)
	p.mustReadRequest(kindRequest, 1)
	p.mustWrite(requestFrame(kindAnswer, 1, ""))
	must(t, wait(t, result))
}

// A signal stops the reads of a helper, see Main: Serve answers what is in hand.
//
// Beyond the specification: what Serve does in Main at a signal.
func TestServeEndsWithReads(t *testing.T) {
	checkLeaks(t)
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c, WithConcurrency(1))
	running, goOn := make(chan bool), make(chan bool)
	served := serveIn(context.Background(), r, func(ctx context.Context, payload []byte) ([]byte, error) {
		running <- true
		<-goOn
		return payload, ctx.Err()
	})
	p.mustWrite(requestFrame(kindRequest, 1, "a"), requestFrame(kindRequest, 2, "b"))
	<-running
	mustQueueOne(t, r)
	c.stopReading()
	p.mustReadRequest(kindError, 2)
	close(goOn)
	must(t, wait(t, served))
	must(t, c.Close())
	if m := p.mustReadRequest(kindAnswer, 1); string(m.body) != "a" {
		t.Errorf("the first request got %q", m.body)
	}
	p.mustEnd()
}

// Beyond the specification: requests may wait for Serve.
func TestWithServe(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c, WithServe())
	result := callIn(testContext(t), r, nil)
	p.mustReadRequest(kindRequest, 1)
	p.mustWrite(requestFrame(kindRequest, 1, "early"), requestFrame(kindAnswer, 1, ""))
	must(t, wait(t, result))
	served := serveIn(context.Background(), r, echoRequest)
	if m := p.mustReadRequest(kindAnswer, 1); string(m.body) != "early" {
		t.Errorf("the early request got %q", m.body)
	}
	if err := r.Serve(context.Background(), echoRequest); err != errServing {
		t.Errorf("a second Serve returned %v", err)
	}
	p.mustWrite(frameOf(nil))
	must(t, wait(t, served))
}

// What waited for Serve is not handled once the session has ended, or reads were stopped.
//
// Covers REQ-16.
func TestServeAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(c *Channel, p *peer){
		"clean":   func(_ *Channel, p *peer) { p.mustWrite(frameOf(nil)) },
		"stopped": func(c *Channel, _ *peer) { c.stopReading() },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := openTCP(t, nil)
			r := NewRequestChannel(c, WithServe())
			result := callIn(testContext(t), r, nil)
			p.mustReadRequest(kindRequest, 1)
			p.mustWrite(requestFrame(kindRequest, 1, "early"))
			mustQueueOne(t, r)
			end(c, p)
			if err := wait(t, result); !errors.Is(err, ErrUnanswered) {
				t.Errorf("the call returned %v", err)
			}
			running, over := make(chan bool, 1), make(chan bool, 1)
			must(t, wait(t, serveIn(context.Background(), r, untilCancelled(running, over))))
			if len(running) != 0 {
				t.Error("the handler was called")
			}
		})
	}
}
