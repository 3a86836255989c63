//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Covers RDV-9, RDV-10, RDV-21, RDV-43.
func TestDialTimeout(t *testing.T) {
	in, out := makePipes(t)
	dir := t.TempDir()
	held := bound(t) // a port at which nobody listens
	defer syscall.Close(held)
	port := localPort(t, held)
	for name, where := range map[string][2]string{
		"pipes nobody opens": {in, out},
		"missing pipes":      {filepath.Join(dir, "in"), filepath.Join(dir, "out")},
		"refused port":       {port, port},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			for _, timeout := range []time.Duration{-1, 60 * time.Millisecond} {
				start := time.Now()
				_, err := Dial(testContext(t), where[0], where[1], &Options{Timeout: timeout})
				passed := time.Since(start)
				if !errors.Is(err, ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("error is %v", err)
				}
				var asNet net.Error
				if !errors.As(err, &asNet) || !asNet.Timeout() || !os.IsTimeout(err) {
					t.Fatalf("%v is no timeout", err)
				}
				if passed < timeout || passed > generous/2 {
					t.Fatalf("Dial took %v with a timeout of %v", passed, timeout)
				}
				if name == "refused port" && !strings.Contains(err.Error(), ": check that the service runs, and that 127.0.0.1:"+port+" is its address: ") {
					t.Errorf("%v does not say what to check", err)
				}
				t.Logf("%v with a timeout of %v: %v", passed, timeout, err)
			}
		})
	}
}

// Whoever calls a Dial off is told what was in the way.
//
// Beyond the specification: the error of a Dial that is called off says what was in the way.
func TestCalledOffDialSaysWhy(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := newPacing(time.Hour).wait(ctx, errNotYet)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errNotYet) {
		t.Fatalf("error is %v", err)
	}
}

// Covers RDV-10.
func TestDialCancelled(t *testing.T) {
	in, out := makePipes(t)
	held := bound(t)
	defer syscall.Close(held)
	port := localPort(t, held)
	for name, where := range map[string][2]string{"pipes": {in, out}, "port": {port, port}} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			ctx, cancel := context.WithCancel(context.Background())
			dialled := background(func() error {
				_, err := Dial(ctx, where[0], where[1], &Options{Timeout: time.Hour})
				return err
			})
			cancel()
			if err := wait(t, dialled); !errors.Is(err, context.Canceled) {
				t.Fatalf("error is %v", err)
			}
			short, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			defer cancel()
			if _, err := Dial(short, where[0], where[1], nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("error is %v", err)
			}
		})
	}
}

// Beyond the specification: a Dial whose context has ended gives the error of the context itself.
func TestDialWithEndedContext(t *testing.T) {
	in, out := makePipes(t)
	l := listen(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, where := range [][2]string{{in, out}, {l.port, l.port}} {
		if c, err := Dial(ctx, where[0], where[1], nil); err != context.Canceled {
			c.Close()
			t.Errorf("error is %v", err)
		}
	}
}
