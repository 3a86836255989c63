//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// The message in hand is answered, and nothing after it.
//
// Beyond the specification: what Main does at a signal.
func TestMainAnswersBeforeItEnds(t *testing.T) {
	for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sent.String(), func(t *testing.T) {
			if signal.Ignored(sent) {
				t.Skip("this process was started with it ignored, and so is the helper")
			}
			onEachListener(t, func(t *testing.T, start func(name string) (*started, *peer)) {
				s, p := start("flood")
				message := pattern(20<<20, 1) // more than the kernel holds
				p.mustWrite(frameOf(message))
				first := make([]byte, 10)
				_, err := io.ReadFull(p, first) // it is writing now
				must(t, err)
				s.stopReading(t, sent)
				must(t, s.Process.Signal(sent)) // belongs to the first
				p.mustWrite(frameOf([]byte("unread")))
				rest, err := io.ReadAll(p)
				must(t, err)
				p.close()
				want := append(frameOf(message), 0, 0, 0, 0)
				if got := append(first, rest...); !bytes.Equal(got, want) {
					t.Errorf("%s, not %s", brief(got), brief(want))
				}
				s.mustExit(t, 0, stopped)
			})
		})
	}
}

// onEachListener runs a test with helpers over each transport.
func onEachListener(t *testing.T, test func(*testing.T, func(string) (*started, *peer))) {
	t.Run("tcp", func(t *testing.T) {
		test(t, func(name string) (*started, *peer) { return meetMain(t, name) })
	})
	t.Run("unix", func(t *testing.T) {
		test(t, func(name string) (*started, *peer) {
			l := listenUnix(t, 1)
			s := startMain(t, name, l.where, l.where)
			return s, l.accept()
		})
	})
	t.Run("pipe", func(t *testing.T) {
		test(t, func(name string) (*started, *peer) {
			in, out := makePipes(t)
			s := startMain(t, name, in, out)
			return s, &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY), w: mustOpen(t, in, syscall.O_WRONLY)}
		})
	})
}

// Beyond the specification: what Main does at a signal while nothing is in hand.
func TestMainEndsAtASignalWhileItWaits(t *testing.T) {
	t.Run("for a message", func(t *testing.T) {
		s, p := meetMain(t, "echo")
		p.mustWrite(frameOf([]byte("a")))
		p.mustReadFrame()
		must(t, s.Process.Signal(syscall.SIGTERM))
		p.mustEnd()
		p.close()
		s.mustExit(t, 0, "")
	})
	t.Run("for the service", func(t *testing.T) {
		in, out := makePipes(t)
		s := startMain(t, "echo", in, out)
		fd := mustOpen(t, out, syscall.O_RDONLY) // it is trying now
		defer syscall.Close(fd)
		must(t, s.Process.Signal(syscall.SIGTERM))
		s.mustExit(t, 0, "")
	})
}

// Beyond the specification: what Main does at a second signal.
func TestMainEndsAtOnceAtTheSecondSignal(t *testing.T) {
	s, _ := meetMain(t, "deaf")
	eventually(t, "it runs", func() bool { return s.errors.String() == "deaf\n" })
	ended := background(s.Wait)
	eventually(t, "it has ended", func() bool {
		s.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if status, _ := s.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", s.ProcessState)
	}
}

// Beyond the specification: signals that are ignored, as under nohup, stay ignored.
func TestMainLeavesIgnoredSignalsAlone(t *testing.T) {
	l := listen(t, 1)
	s := &started{Cmd: exec.Command("/bin/sh", "-c", `trap "" INT HUP; exec "$@"`, "sh", os.Args[0], "-test.run=^TestAsHelper$")}
	s.Env = append(os.Environ(), mainVariable+"=echo", EnvIn+"="+l.port, EnvOut+"="+l.port)
	s.Stderr = &s.errors
	must(t, s.Start())
	t.Cleanup(func() { s.Process.Kill() })
	p := l.accept()
	for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		must(t, s.Process.Signal(sent))
		p.mustWrite(frameOf([]byte("a")))
		p.mustReadFrame()
	}
	must(t, s.Process.Signal(syscall.SIGTERM))
	p.mustEnd()
	p.close()
	s.mustExit(t, 0, "")
}
