//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The server may open its ends in any order, blocking or not, before or after
// the client comes.
func TestPipeOpenOrders(t *testing.T) {
	for _, readFirst := range []bool{true, false} {
		for _, serverFirst := range []bool{true, false} {
			t.Run(sprint("read first ", readFirst, ", server first ", serverFirst), func(t *testing.T) {
				checkLeaks(t)
				in, out := makePipes(t)
				p := &peer{t: t, r: -1, w: -1}
				defer func() { p.close() }()
				serve := func() error {
					openR := func() { p.r = mustOpen(t, out, syscall.O_RDONLY) }
					openW := func() { p.w = mustOpen(t, in, syscall.O_WRONLY) }
					if readFirst {
						openR()
						openW()
					} else {
						openW()
						openR()
					}
					return nil
				}
				var served <-chan error
				if serverFirst {
					served = background(serve)
				} else {
					// Nobody is there at the first try.
					if _, err := Dial(testContext(t), in, out, &Options{Timeout: -1}); !errors.Is(err, ErrTimeout) {
						t.Fatalf("error is %v", err)
					}
					served = background(serve)
				}
				c := mustDial(t, in, out, nil)
				must(t, wait(t, served))
				p.mustWrite(frameOf([]byte("hello")), make([]byte, 4))
				mustRead(t, c, []byte("hello"))
				mustSend(t, c, []byte("you"))
				if got := p.mustReadFrame(); string(got) != "you" {
					t.Fatalf("peer got %q", got)
				}
				must(t, c.Close())
			})
		}
	}
}

func TestPipesCreatedLate(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	dialled := background(func() error {
		c, err := Dial(testContext(t), in, out, nil)
		if err != nil {
			return err
		}
		return c.Close()
	})
	must(t, syscall.Mkfifo(in, 0o600)) // at first only one of the two
	must(t, syscall.Mkfifo(out, 0o600))
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY), w: mustOpen(t, in, syscall.O_WRONLY)}
	defer p.close()
	p.mustEnd()
	must(t, wait(t, dialled))
}

func TestRefusedPaths(t *testing.T) {
	in, out := makePipes(t)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	hard, foreign := filepath.Join(dir, "hard"), filepath.Join(dir, "foreign")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	must(t, os.Symlink(in, link))
	must(t, os.Link(in, hard))
	must(t, syscall.Mkfifo(foreign, 0o666))
	must(t, os.Chmod(foreign, 0o666))
	cases := []struct{ name, in, out, says string }{
		{"regular file in", file, out, "not a named pipe"},
		{"regular file out", in, file, "not a named pipe"},
		{"regular file in, out missing", file, filepath.Join(dir, "missing"), "not a named pipe"},
		{"regular file out, in missing", filepath.Join(dir, "missing"), file, "not a named pipe"},
		{"directory", dir, out, "not a named pipe"},
		{"device", in, "/dev/null", "not a named pipe"},
		{"symbolic link in", link, out, "a symbolic link, not a named pipe"},
		{"symbolic link out", out, link, "a symbolic link, not a named pipe"},
		{"file as directory", filepath.Join(file, "in"), out, "not a directory"},
		{"same pipe by two names", in, hard, "same named pipe"},
		{"name too long", filepath.Join(dir, strings.Repeat("x", 300)), out, "name too long"},
	}
	if os.Geteuid() == 0 {
		must(t, os.Chown(foreign, 12345, 12345))
		cases = append(cases, struct{ name, in, out, says string }{"another owner", in, foreign, "belongs to user 12345"})
	}
	for _, v := range cases {
		t.Run(v.name, func(t *testing.T) {
			checkLeaks(t)
			_, err := Dial(testContext(t), v.in, v.out, nil)
			if !errors.Is(err, ErrBadRendezvous) || !strings.Contains(err.Error(), v.says) {
				t.Fatalf("error is %v", err)
			}
			content, err := os.ReadFile(file)
			if err != nil || string(content) != "precious" {
				t.Fatalf("the file has %q, %v", content, err)
			}
		})
	}
}

// When one path is refused, the other is not even opened: a server that waits
// there for its client goes on waiting.
func TestRefusedPathOpensNothing(t *testing.T) {
	in, _ := makePipes(t)
	opened := background(func() error {
		fd, err := syscall.Open(in, syscall.O_WRONLY, 0)
		syscall.Close(fd)
		return err
	})
	for range 500 { // in one of them at least, the server waits by now
		if _, err := Dial(testContext(t), in, "/dev/null", nil); !errors.Is(err, ErrBadRendezvous) {
			t.Fatal(err)
		}
	}
	select {
	case err := <-opened:
		t.Fatalf("the server was let in: %v", err)
	default:
	}
	defer syscall.Close(mustOpen(t, in, syscall.O_RDONLY))
	must(t, wait(t, opened))
}

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
				t.Logf("%v with a timeout of %v: %v", passed, timeout, err)
			}
		})
	}
}

// Whoever calls a Dial off is told what was in the way.
func TestCalledOffDialSaysWhy(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := newPacing(time.Hour).wait(ctx, errNotYet)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errNotYet) {
		t.Fatalf("error is %v", err)
	}
}

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

func mustNotYet(t *testing.T, d *pipeDial) {
	t.Helper()
	if err := d.try(); !errors.Is(err, errNotYet) {
		t.Fatalf("error is %v", err)
	}
}

// The server may come, write and leave before this side looks again.
func TestServerCameAndLeft(t *testing.T) {
	for _, removed := range []bool{false, true} {
		t.Run(sprint("pipes removed ", removed), func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			d := newPipeDial(in, out)
			mustNotYet(t, d)
			p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: mustOpen(t, in, syscall.O_WRONLY)}
			p.mustWrite(frameOf([]byte("took you long")), make([]byte, 4))
			p.close()
			if removed {
				must(t, os.RemoveAll(filepath.Dir(in)))
			}
			must(t, d.try())
			s, err := d.stream()
			must(t, err)
			opts, _ := (*Options)(nil).resolved()
			c := newChannel(s, opts)
			if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) {
				t.Fatalf("error is %v", err)
			}
			mustRead(t, c, []byte("took you long"))
			mustEndWith(t, c, EndClean, io.EOF)
			must(t, c.Close())
		})
	}
}

// A server that replaces its pipes is met at the new ones.
func TestReplacedPipes(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	defer d.release()
	mustNotYet(t, d)
	for _, path := range []string{in, out} {
		must(t, syscall.Mkfifo(path+".new", 0o600))
		must(t, os.Rename(path+".new", path))
	}
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	mustNotYet(t, d)                                           // the old ones are closed
	mustNotYet(t, d)                                           // the new ones are open
	p.w = mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK) // fails without a reader
	must(t, d.try())
}

// A look whether somebody writes may find bytes, which must not be lost.
func TestLookFindsFirstByte(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	defer d.release()
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	mustNotYet(t, d)
	p.w = mustOpen(t, in, syscall.O_WRONLY)
	p.mustWrite(frameOf([]byte("quick"))[:1])
	if !d.hasWriter() {
		t.Fatal("nobody writes")
	}
	p.closeRead() // who has written was there, even so
	must(t, d.try())
	s, err := d.stream()
	must(t, err)
	opts, _ := (*Options)(nil).resolved()
	c := newChannel(s, opts)
	p.mustWrite(frameOf([]byte("quick"))[1:])
	p.close()
	mustRead(t, c, []byte("quick"))
	mustEndWith(t, c, EndEOF, io.EOF)
	must(t, c.Close())
}

// Two passers-by, one at each pipe, are not a server: who reads has left.
func TestPassersByAtBothPipes(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	defer d.release()
	reader := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
	mustNotYet(t, d)
	syscall.Close(reader)
	writer := mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)
	defer syscall.Close(writer)
	mustNotYet(t, d)
}

// Whoever reads what we write, and leaves, is no server that has come and gone.
func TestPasserByBeforeServer(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	defer d.release()
	for range 2 {
		passer := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
		mustNotYet(t, d)
		syscall.Close(passer)
		mustNotYet(t, d)
		syscall.Close(mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK))
		mustNotYet(t, d)
	}
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)}
	defer p.close()
	must(t, d.try())
}

// What the server does after it was not seen and before we look at the paths.
func TestReplacedWhileOpening(t *testing.T) {
	const (
		none, opens, writes = "", "opens", "writes"
		connected           = "connected"
		waiting             = "both stay open"
		again               = "both are closed"
	)
	for name, test := range map[string]struct {
		replaced string // which names lead to new pipes
		removed  string // which names are gone
		does     string // what the server does with the pipe that we read
		leaves   bool   // whether the server of the pair that we hold has gone then
		want     string
	}{
		"one of the old pair and one of the new": {replaced: "in", leaves: true, want: again},
		"the new one is read":                    {replaced: "in", want: again},
		"being replaced, the server is slow":     {replaced: "out", want: waiting},
		"replaced after 250 ms":                  {replaced: "in out", does: opens, want: connected},
		"came, wrote and left":                   {removed: "in out", does: writes, leaves: true, want: connected},
		"came, wrote and left, next session":     {replaced: "in out", does: writes, leaves: true, want: connected},
		"being removed":                          {removed: "in", does: writes, leaves: true, want: connected},
		"left and said nothing":                  {replaced: "in out", leaves: true, want: again},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			r, w := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), -1
			closeServer := func() {
				for _, fd := range []*int{&r, &w} {
					if *fd >= 0 {
						syscall.Close(*fd)
						*fd = -1
					}
				}
			}
			defer closeServer()
			d := newPipeDial(in, out)
			defer d.release()
			d.unseen = func() {
				if test.does != none {
					w = mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)
				}
				if test.does == writes {
					_, err := syscall.Write(w, frameOf([]byte("a")))
					must(t, err)
				}
				for which, path := range map[string]string{"in": in, "out": out} {
					if slices.Contains(strings.Fields(test.replaced+" "+test.removed), which) {
						must(t, os.Rename(path, path+".old"))
					}
					if slices.Contains(strings.Fields(test.replaced), which) {
						must(t, syscall.Mkfifo(path, 0o600))
					}
				}
				if test.leaves {
					closeServer()
				}
			}
			err := d.try()
			if test.want == connected {
				must(t, err)
				return
			}
			if !errors.Is(err, errNotYet) {
				t.Fatalf("error is %v", err)
			}
			if isOpen := test.want == waiting; (d.in >= 0) != isOpen || (d.out >= 0) != isOpen {
				t.Fatalf("in is %d, out %d", d.in, d.out)
			}
		})
	}
}

// A server may write before it opens what it reads: it is met when it has both.
func TestServerWritesFirst(t *testing.T) {
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	defer d.release()
	syscall.Close(mustOpenAfterTry(t, d)) // a passer-by: nothing but a hang-up is left
	mustNotYet(t, d)
	p := &peer{t: t, r: -1, w: mustOpen(t, in, syscall.O_WRONLY)}
	defer func() { p.close() }()
	p.mustWrite(frameOf([]byte("x")))
	mustNotYet(t, d)
	p.r = mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
	must(t, d.try())
	if d.out < 0 {
		t.Fatal("connected without an output")
	}
}

// mustOpenAfterTry opens in for writing once a try has opened it for reading.
func mustOpenAfterTry(t *testing.T, d *pipeDial) int {
	t.Helper()
	mustNotYet(t, d)
	return mustOpen(t, d.inPath, syscall.O_WRONLY|syscall.O_NONBLOCK)
}

// What an old server has written is not read beside the output to a new one.
func TestOldInputIsNotPaired(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	defer d.release()
	old := mustOpenAfterTry(t, d)
	defer syscall.Close(old)
	_, err := syscall.Write(old, frameOf([]byte("old")))
	must(t, err)
	for _, path := range []string{in, out} {
		must(t, syscall.Mkfifo(path+".new", 0o600))
		must(t, os.Rename(path+".new", path))
	}
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	mustNotYet(t, d)
	p.w = mustOpenAfterTry(t, d)
	must(t, d.try())
}

// A byte that was found in looking is one of the stream, whatever follows.
func TestOnlyTheFirstByte(t *testing.T) {
	in, out := makePipes(t)
	d := newPipeDial(in, out)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	p.w = mustOpenAfterTry(t, d)
	p.mustWrite([]byte{0})
	if !d.hasWriter() {
		t.Fatal("nobody writes")
	}
	s, err := d.stream()
	must(t, err)
	opts, _ := (*Options)(nil).resolved()
	c := newChannel(s, opts)
	p.closeWrite() // it goes on reading
	mustEndWith(t, c, EndTruncated, ErrTruncated)
	must(t, c.Close())
}

// The path may lead elsewhere by the time that it is opened.
func TestOpenedIsNoPipe(t *testing.T) {
	checkLeaks(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := openPipe(file, syscall.O_RDONLY); !errors.Is(err, ErrBadRendezvous) {
		t.Fatalf("error is %v", err)
	}
}

func TestErrorsOfPaths(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		var coded *Error
		if err := pathError("open", "/x", errno); errors.Is(err, errNotYet) || errors.As(err, &coded) || !errors.Is(err, errno) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.ELOOP, syscall.ENOTDIR, syscall.ENAMETOOLONG} {
		if err := pathError("open", "/x", errno); !errors.Is(err, ErrBadRendezvous) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	if sameFile(&syscall.Stat_t{Dev: 1, Ino: 5}, &syscall.Stat_t{Dev: 2, Ino: 5}) {
		t.Error("files of two devices are the same")
	}
}

func TestErrorsOfAddresses(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.EAFNOSUPPORT, syscall.EACCES, syscall.EPERM} {
		if !isNever(errno) || isNobodyThere(errno) {
			t.Errorf("%v is worth another try", errno)
		}
	}
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ETIMEDOUT} {
		if isNever(errno) || !isNobodyThere(errno) {
			t.Errorf("%v is not worth another try", errno)
		}
	}
}

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
