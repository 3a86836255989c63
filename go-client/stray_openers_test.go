//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// A server holds both pipes at one moment. Of two stray openers one may leave as the
// other comes, between any two looks of a try.
//
// Covers RDV-28.
func TestStrayOpenersChangePlacesInATry(t *testing.T) {
	for _, first := range []string{"reads", "writes"} {
		for _, when := range []moment{afterOpening, afterOut, afterIn, afterUnseen} {
			t.Run(sprint(first, " ", when), func(t *testing.T) {
				d, in, out := testPipeConnector(t)
				openR := func() int { return mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK) }
				openW := func() int { return mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK) }
				held := openR()
				mustNotYet(t, d) // both are open from now on
				comes := openW
				if first == "writes" {
					syscall.Close(held)
					held, comes = openW(), openR
				}
				d.between = func(now moment) {
					if now == when {
						syscall.Close(held)
						held = comes()
					}
				}
				mustNotYet(t, d)
				d.between = func(moment) {}
				syscall.Close(held)
			})
		}
	}
}

// A Dial that gives up closes both pipes, even if a process reads the pipe that it writes.
//
// Covers RDV-10.
func TestGivesUpBothPipes(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		t.Run(sprint("cancelled ", cancelled), func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			reader := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
			defer syscall.Close(reader)
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			if cancelled {
				dialled := background(func() error {
					_, err := Dial(ctx, in, out, nil)
					return err
				})
				awaitWriter(t, reader)
				cancel()
				if err := wait(t, dialled); !errors.Is(err, context.Canceled) {
					t.Fatalf("error is %v", err)
				}
			} else if _, err := Dial(ctx, in, out, &Options{Timeout: 30 * time.Millisecond}); !errors.Is(err, ErrTimeout) {
				t.Fatalf("error is %v", err)
			}
			// The reader sees it: an end of stream, and not EAGAIN.
			if n, err := syscall.Read(reader, make([]byte, 1)); n != 0 || err != nil {
				t.Fatalf("read %d bytes, error %v", n, err)
			}
			if fd, err := syscall.Open(in, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); err != syscall.ENXIO {
				t.Fatalf("opened %d, error %v", fd, err)
			}
		})
	}
}

// awaitWriter waits until a process has opened the pipe for writing.
func awaitWriter(t *testing.T, reader int) {
	t.Helper()
	for deadline := time.Now().Add(generous); ; time.Sleep(time.Millisecond) {
		if _, err := syscall.Read(reader, make([]byte, 1)); err == syscall.EAGAIN {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no process has opened the pipe for writing")
		}
	}
}
