//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stopped is what a helper prints when its reads have ended.
const stopped = "stopped\n"

// mainVariable names the helper as which TestAsHelper runs.
const mainVariable = "IPCCHANNEL_TEST_MAIN"

// helpers are what Main runs in a process of its own.
var helpers = map[string]func(context.Context, *Channel) error{
	"echo": func(ctx context.Context, c *Channel) error {
		for {
			message, err := c.ReadMessage(ctx)
			if err != nil {
				return err
			}
			if err := c.WriteMessage(ctx, message); err != nil {
				return err
			}
		}
	},
	// Writes one message as often as it can, until reads end.
	"flood": func(ctx context.Context, c *Channel) error {
		message, err := c.ReadMessage(ctx)
		var ended atomic.Bool
		go func() {
			if _, err := c.ReadMessage(ctx); err == io.EOF {
				ended.Store(true)
				os.Stderr.WriteString(stopped)
			}
		}()
		for err == nil && !ended.Load() {
			err = c.WriteMessage(ctx, message)
		}
		return err
	},
	// Does not wait until its message is sent.
	"hasty": func(ctx context.Context, c *Channel) error {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := c.WriteMessage(ctx, make([]byte, 20<<20)); err != context.DeadlineExceeded {
			return err
		}
		return nil
	},
	"fail":    func(context.Context, *Channel) error { return errors.New("out of cheese") },
	"panic":   func(context.Context, *Channel) error { panic("out of cheese") },
	"foreign": func(context.Context, *Channel) error { return io.EOF },
	"swallow": func(ctx context.Context, c *Channel) error {
		for _, err := c.ReadMessage(ctx); err == nil; {
			_, err = c.ReadMessage(ctx)
		}
		return nil
	},
	"impatient": func(context.Context, *Channel) error { return nil },
	"deaf": func(ctx context.Context, c *Channel) error {
		println("deaf")
		select {}
	},
}

var optionsOfHelpers = map[string]*Options{
	"impatient": {Timeout: 100 * time.Millisecond},
	"hasty":     {Linger: 100 * time.Millisecond},
}

// Beyond the specification: other tests start this one as a helper.
func TestAsHelper(t *testing.T) {
	if serve := helpers[os.Getenv(mainVariable)]; serve != nil {
		Main(serve, optionsOfHelpers[os.Getenv(mainVariable)])
	}
}

// started is a helper in a process of its own.
type started struct {
	*exec.Cmd
	errors safeBuffer
}

// stopReading sends a signal, and waits until the helper has heeded it.
func (s *started) stopReading(t *testing.T, sent os.Signal) {
	t.Helper()
	must(t, s.Process.Signal(sent))
	eventually(t, "it stops reading", func() bool { return s.errors.String() == stopped })
}

// safeBuffer is a bytes.Buffer that may be read while it is written.
type safeBuffer struct {
	sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(data []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.buffer.Write(data)
}

func (b *safeBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.buffer.String()
}

func startMain(t *testing.T, name, in, out string) *started {
	t.Helper()
	s := &started{Cmd: exec.Command(os.Args[0], "-test.run=^TestAsHelper$")}
	s.Env = append(os.Environ(), mainVariable+"="+name, EnvIn+"="+in, EnvOut+"="+out)
	s.Stderr = &s.errors
	must(t, s.Start())
	t.Cleanup(func() { s.Process.Kill() })
	return s
}

// mustExit checks the exit status, and that standard error begins with text.
func (s *started) mustExit(t *testing.T, status int, text string) {
	t.Helper()
	must(t, wait(t, background(func() error { s.Wait(); return nil })))
	got := s.errors.String()
	if s.ProcessState.ExitCode() != status || !strings.HasPrefix(got, text) || text == "" && got != "" {
		t.Errorf("%v, and %q, not %d and %q", s.ProcessState, got, status, text)
	}
}

// meetMain starts a helper over TCP and returns it with its peer.
func meetMain(t *testing.T, name string) (*started, *peer) {
	t.Helper()
	l := listen(t, 1)
	s := startMain(t, name, l.port, l.port)
	return s, l.accept()
}

func nameOfTest() string { return programName(os.Args) }

// Beyond the specification: the exit status of Main, and what it prints.
func TestMainTellsHowTheSessionEnded(t *testing.T) {
	a := frameOf([]byte("a"))
	for _, v := range []struct {
		helper, name string
		wire         []byte
		status       int
		text         string
	}{
		{"echo", "clean", append(a, 0, 0, 0, 0), 0, ""},
		{"echo", "eof", a, 0, ""},
		{"echo", "truncated", append(a, 0, 0), 1, ": truncated: stream ended after 2 of the 4 header bytes\n"},
		{"echo", "too large", append(a, 255, 255, 255, 255), 1, ": too-large: frame of 4294967295 bytes"},
		{"swallow", "a swallowed error", append(a, 0, 0), 1, ": truncated: stream ended after 2"},
		{"swallow", "nothing swallowed", a, 0, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			s, p := meetMain(t, v.helper)
			p.mustWrite(v.wire)
			p.closeWrite()
			if v.helper == "echo" && !bytes.Equal(p.mustReadFrame(), []byte("a")) {
				t.Error("no answer")
			}
			p.mustEnd()
			p.close()
			if v.text != "" {
				v.text = nameOfTest() + v.text
			}
			s.mustExit(t, v.status, v.text)
		})
	}
}

// Beyond the specification: the exit status of Main after a reset.
func TestMainTellsOfAReset(t *testing.T) {
	s, p := meetMain(t, "echo")
	p.mustWrite(frameOf([]byte("a")))
	p.mustReadFrame()
	p.reset()
	s.mustExit(t, 1, nameOfTest()+": reset: connection lost")
}

// A crash closes the channel, so that the service learns of it, and prints why before.
//
// Beyond the specification: the exit status of Main after a failure of its function.
func TestMainTellsOfAFailure(t *testing.T) {
	for name, text := range map[string]string{
		"fail": ": out of cheese\n", "panic": ": panic: out of cheese\n\ngoroutine ", "foreign": ": EOF\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, p := meetMain(t, name)
			p.mustEnd()
			p.close()
			s.mustExit(t, 1, nameOfTest()+text)
			if trace := strings.Contains(s.errors.String(), "main_test.go"); trace != (name == "panic") {
				t.Errorf("it printed %s", &s.errors)
			}
		})
	}
}

// Beyond the specification: the exit status of Main when it cannot connect.
func TestMainTellsThatThereIsNoService(t *testing.T) {
	fd := bound(t) // refuses connections
	defer syscall.Close(fd)
	port := localPort(t, fd)
	startMain(t, "impatient", port, port).mustExit(t, 1, nameOfTest()+": timeout: no server came within 100ms")
	startMain(t, "impatient", "in", "out").mustExit(t, 1, nameOfTest()+": bad-rendezvous: ")
}

// Beyond the specification: the exit status of Main when the service does not read.
func TestMainTellsThatTheServiceTookNothing(t *testing.T) {
	s, p := meetMain(t, "hasty")
	s.mustExit(t, 1, nameOfTest()+": timeout: the peer took no output for 100ms")
	p.close()
}

// A service that has closed its channel, or has sent a signal, does not want the answer.
//
// Beyond the specification: the exit status of Main when a write fails.
func TestMainTellsOfAFailedWriteOnlyIfItIsWanted(t *testing.T) {
	for _, v := range []struct {
		name, helper string
		end          func(*started, *peer)
		status       int
		text         string
	}{
		{"closed", "echo", func(_ *started, p *peer) { p.mustWrite(frameOf(nil)) }, 0, ""},
		{"signal", "flood", func(s *started, _ *peer) { s.stopReading(t, syscall.SIGTERM) }, 0, stopped},
		{"killed", "echo", func(_ *started, p *peer) { p.closeWrite() }, 1, ": peer-gone: "},
		{"half killed", "echo", func(*started, *peer) {}, 1, ": peer-gone: "},
	} {
		t.Run(v.name, func(t *testing.T) {
			in, out := makePipes(t)
			s := startMain(t, v.helper, in, out)
			p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY), w: mustOpen(t, in, syscall.O_WRONLY)}
			p.mustWrite(frameOf(pattern(4<<20, 1)))
			mustReadSome(t, p)
			v.end(s, p)
			p.closeRead()
			if v.status != 0 {
				v.text = nameOfTest() + v.text
			}
			s.mustExit(t, v.status, v.text)
			p.close()
		})
	}
}
