//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Covers RDV-9, RDV-10, RDV-21, RDV-43, RDV-66, RDV-67.
func TestDialTimeout(t *testing.T) {
	in, out := makePipes(t)
	dir := t.TempDir()
	held := bound(t) // a port at which no process listens
	defer syscall.Close(held)
	port := localPort(t, held)
	missing, stale := unixPrefix+filepath.Join(dir, "socket"), listenUnix(t, 1)
	stale.close()
	for name, where := range map[string][2]string{
		"pipes without a server": {in, out},
		"missing pipes":          {filepath.Join(dir, "in"), filepath.Join(dir, "out")},
		"refused port":           {port, port},
		"missing socket":         {missing, missing},
		"stale socket":           {stale.where, stale.where},
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
				if name == "refused port" && !strings.Contains(err.Error(), ": check that the server is running, and that 127.0.0.1:"+port+" is its address: ") {
					t.Errorf("%v does not say what to check", err)
				}
				t.Logf("%v with a timeout of %v: %v", passed, timeout, err)
			}
		})
	}
}

// The caller that cancels a Dial learns what was in the way.
//
// Beyond the specification: the error of a Dial that is cancelled says what was in the way.
func TestCalledOffDialSaysWhy(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := newPacing(time.Hour).wait(ctx, errNotYet)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errNotYet) {
		t.Fatalf("error is %v", err)
	}
}

// Covers RDV-12.
func TestPausesGrow(t *testing.T) {
	pacing := newPacing(math.MaxInt64)
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 20, 20} {
		want *= time.Millisecond
		start := time.Now()
		if pacing.pause != want {
			t.Errorf("the pause is %v, not %v", pacing.pause, want)
		}
		must(t, pacing.wait(testContext(t), errNotYet))
		if passed := time.Since(start); passed < want {
			t.Errorf("paused for %v, not %v", passed, want)
		}
	}
}

// A client that starts over at new pipes does not begin with short pauses again.
//
// Covers RDV-12, RDV-23.
func TestStartingOverKeepsThePause(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	newIn, newOut := makePipes(t)
	p := &peer{t: t, r: mustOpen(t, newOut, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	opened := background(func() (err error) {
		p.w, err = syscall.Open(newIn, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		return err
	})
	pacing := newPacing(generous)
	pacing.pause = lastPause
	dialled := background(func() error {
		s, err := dialPipes(testContext(t), in, out, pacing)
		if err != nil {
			return err
		}
		return s.Close()
	})
	eventually(t, "the client reads the old pipe", func() bool {
		fd, err := syscall.Open(in, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		syscall.Close(fd)
		return err == nil
	})
	must(t, os.Rename(newOut, out))
	must(t, os.Rename(newIn, in))
	must(t, wait(t, dialled))
	must(t, wait(t, opened))
	if pacing.pause != lastPause {
		t.Errorf("the pause is %v, not %v", pacing.pause, lastPause)
	}
}

// Covers RDV-10.
func TestDialCancelled(t *testing.T) {
	in, out := makePipes(t)
	held := bound(t)
	defer syscall.Close(held)
	port := localPort(t, held)
	stale := listenUnix(t, 1)
	stale.close()
	for name, where := range map[string][2]string{"pipes": {in, out}, "port": {port, port}, "socket": {stale.where, stale.where}} {
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
	l, u := listen(t, 1), listenUnix(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, where := range [][2]string{{in, out}, {l.port, l.port}, {u.where, u.where}} {
		if c, err := Dial(ctx, where[0], where[1], nil); err != context.Canceled {
			c.Close()
			t.Errorf("error is %v", err)
		}
	}
}
