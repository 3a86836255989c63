//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func newTestFile(fd int) *os.File { return os.NewFile(uintptr(fd), "descriptor") }

// handOver gives the peer's descriptors to a process, as its input and output.
func handOver(t *testing.T, p *peer, name string, args ...string) *exec.Cmd {
	t.Helper()
	in, err := syscall.Dup(p.r)
	must(t, err)
	out, err := syscall.Dup(p.w)
	must(t, err)
	syscall.CloseOnExec(in)
	syscall.CloseOnExec(out)
	cmd := exec.Command(name, args...)
	stdin, stdout := newTestFile(in), newTestFile(out)
	cmd.Stdin, cmd.Stdout = stdin, stdout
	must(t, cmd.Start())
	stdin.Close()
	stdout.Close()
	p.close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// Covers FRM-10, SES-5.
func TestPeerIsKilled(t *testing.T) {
	frame := frameOf(pattern(1000, 1))
	for _, v := range []struct {
		name   string
		wire   []byte
		reason EndReason
		err    error
	}{
		{"before the first byte", nil, EndEOF, io.EOF},
		{"between frames", frame, EndEOF, io.EOF},
		{"inside a frame", append(append([]byte(nil), frame...), 0, 0, 0, 9, 1), EndTruncated, io.ErrUnexpectedEOF},
	} {
		t.Run(v.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				c, p := tr.open(t, nil)
				p.mustWrite(v.wire)
				cmd := handOver(t, p, "sleep", "60")
				if len(v.wire) > 0 {
					mustRead(t, c, frame[4:])
				}
				reading := background(func() error {
					mustEndWith(t, c, v.reason, v.err)
					return nil
				})
				must(t, cmd.Process.Kill())
				cmd.Wait()
				must(t, wait(t, reading))
			})
		})
	}
}

// Covers SES-2, SES-5.
func TestPeerIsKilledWithUnreadInput(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		if !tr.canReset {
			return
		}
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("last")))
		mustSend(t, c, []byte("never read"))
		cmd := handOver(t, p, "sleep", "60")
		must(t, cmd.Process.Kill())
		cmd.Wait()
		mustRead(t, c, []byte("last"))
		mustEndWith(t, c, EndReset, ErrReset)
	})
}

// Covers SES-10, SES-22.
func TestPeerIsStopped(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		cmd := handOver(t, p, "cat")
		message := pattern(5<<20, 1)
		written := background(func() error { return c.WriteMessage(testContext(t), message) })
		must(t, cmd.Process.Signal(syscall.SIGSTOP))
		// It can send no more than what is on its way.
		short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if got, err := c.ReadMessage(short); err == nil {
			t.Logf("all %d bytes had passed", len(got))
		} else {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("error is %v", err)
			}
			must(t, cmd.Process.Signal(syscall.SIGCONT))
			mustRead(t, c, message)
		}
		cmd.Process.Signal(syscall.SIGCONT)
		must(t, wait(t, written))
		closed := background(c.Close)
		must(t, wait(t, closed))
	})
}

// Frames pass through a program that knows nothing of them.
//
// Covers FRM-2.
func TestThroughCat(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		cmd := handOver(t, p, "cat")
		const count = 3000
		sent := background(func() error {
			for i := range count {
				if err := c.WriteMessage(testContext(t), pattern(1+i%5000, i)); err != nil {
					return err
				}
			}
			return nil
		})
		var buf []byte
		for i := range count {
			var err error
			buf, err = c.ReadMessageInto(testContext(t), buf)
			must(t, err)
			if !bytes.Equal(buf, pattern(1+i%5000, i)) {
				t.Fatalf("message %d is %s", i, brief(buf))
			}
		}
		must(t, wait(t, sent))
		must(t, c.Close())
		cmd.Wait() // over pipes it gets EPIPE as it sends the close frame back
	})
}

// A helper may have closed its standard output. If the channel got that descriptor, a
// write that fails would end the process.
//
// Covers RDV-7, SES-23.
func TestChannelAsStandardOutput(t *testing.T) {
	const variable = "IPCCHANNEL_TEST_OUTPUT"
	if os.Getenv(variable) != "" {
		os.Exit(writeToStandardOutput())
	}
	start := func(in, out string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChannelAsStandardOutput$")
		cmd.Env = append(os.Environ(), variable+"=1", EnvIn+"="+in, EnvOut+"="+out)
		must(t, cmd.Start())
		return cmd
	}
	check := func(t *testing.T, cmd *exec.Cmd) {
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 13 {
			t.Fatalf("it ended with %v", err)
		}
	}
	t.Run("pipe", func(t *testing.T) {
		in, out := makePipes(t)
		cmd := start(in, out)
		p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY), w: mustOpen(t, in, syscall.O_WRONLY)}
		p.mustWrite(frameOf([]byte("hello")))
		p.close()
		check(t, cmd)
	})
	t.Run("unix", func(t *testing.T) {
		l := listenUnix(t, 1)
		cmd := start(l.where, l.where)
		p := l.accept()
		p.mustWrite(frameOf([]byte("hello")))
		p.close()
		check(t, cmd)
	})
	t.Run("tcp", func(t *testing.T) {
		l := listen(t, 1)
		cmd := start(l.port, l.port)
		p := l.accept()
		p.mustWrite(frameOf([]byte("hello")))
		p.close()
		check(t, cmd)
	})
}

// writeToStandardOutput returns 13 if it got the error of a write to a peer that
// has gone.
func writeToStandardOutput() int {
	for _, fd := range []int{0, 1} {
		syscall.Close(fd)
	}
	c, err := DialEnv(context.Background(), nil)
	if err != nil {
		return 10
	}
	for err == nil {
		_, err = c.ReadMessage(context.Background())
	}
	if err != io.EOF {
		return 11
	}
	for err = nil; err == nil; {
		err = c.WriteMessage(context.Background(), []byte("x"))
	}
	if !errors.Is(err, ErrPeerGone) && !errors.Is(err, ErrReset) {
		return 12
	}
	return 13
}
