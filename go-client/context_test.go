//go:build linux || darwin

package ipcchannel

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"
)

// A context that ends just as a stale deadline is taken away still ends the wait.
//
// Beyond the specification: a context ends a wait at whatever moment it ends.
func TestContextEndsAsDeadlineIsReset(t *testing.T) {
	for _, what := range []string{"read", "write"} {
		t.Run(what, func(t *testing.T) {
			f := newFakeStream()
			ctx, cancel := context.WithCancel(context.Background())
			interrupted := make(chan struct{})
			var once sync.Once
			var mu sync.Mutex
			changed := sync.NewCond(&mu)
			isPast, isFirst, isArmed := true, true, true // there is a stale deadline
			set := func(deadline time.Time) {
				mu.Lock()
				wasArmed := isArmed && deadline.IsZero()
				isArmed = isArmed && !wasArmed
				mu.Unlock()
				if wasArmed {
					cancel()
					<-interrupted
				}
				mu.Lock()
				isPast = deadline.Equal(past)
				changed.Broadcast()
				mu.Unlock()
				if deadline.Equal(past) {
					once.Do(func() { close(interrupted) })
				}
			}
			call := func([]byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				for ; !isPast && !isFirst; changed.Wait() {
				}
				isFirst = false
				return 0, os.ErrDeadlineExceeded
			}
			f.read, f.write, f.onReadDeadline, f.onWriteDeadline = call, call, set, set
			c := f.channel(nil)
			err := wait(t, background(func() error {
				if what == "write" {
					return c.WriteMessage(ctx, []byte("x"))
				}
				_, err := c.ReadMessage(ctx)
				return err
			}))
			if err != context.Canceled {
				t.Fatalf("error is %v", err)
			}
		})
	}
}

// countedContext counts the functions that wait for its end.
type countedContext struct {
	context.Context
	done    chan struct{}
	waiting int
}

func (c *countedContext) Done() <-chan struct{} { return c.done }

func (c *countedContext) AfterFunc(func()) func() bool {
	c.waiting++
	return func() bool { c.waiting--; return true }
}

// Beyond the specification: a closed Channel waits for no context any more.
func TestCloseLetsContextsGo(t *testing.T) {
	c := newFakeStream().channel(nil)
	reading := &countedContext{Context: context.Background(), done: make(chan struct{})}
	writing := &countedContext{Context: context.Background(), done: make(chan struct{})}
	c.ReadMessage(reading)
	must(t, c.WriteMessage(writing, []byte("x")))
	if reading.waiting != 1 || writing.waiting != 1 {
		t.Fatal("the channel does not wait for the contexts")
	}
	must(t, c.Close())
	if reading.waiting != 0 || writing.waiting != 0 {
		t.Fatal("the channel still waits for the contexts")
	}
}
