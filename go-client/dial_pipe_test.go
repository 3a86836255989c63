//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The server may open its ends in any order, blocking or not, before or after
// the client comes.
//
// Covers RDV-10, RDV-22.
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
					// No server is there at the first try.
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

// A try finds no pipe, the next only one of the two, the next both.
//
// Covers RDV-21.
func TestPipesCreatedLate(t *testing.T) {
	for _, first := range []string{"in", "out"} {
		t.Run(first+" first", func(t *testing.T) {
			checkLeaks(t)
			dir := t.TempDir()
			paths := map[string]string{"in": filepath.Join(dir, "in"), "out": filepath.Join(dir, "out")}
			d := newPipeConnector(paths["in"], paths["out"])
			defer d.release()
			mustNotYet(t, d)
			must(t, syscall.Mkfifo(paths[first], 0o600))
			mustNotYet(t, d)
			delete(paths, first)
			for _, second := range paths {
				must(t, syscall.Mkfifo(second, 0o600))
			}
			p := &peer{t: t, r: mustOpen(t, d.outPath, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
			defer func() { p.close() }()
			p.w = mustOpenAfterTry(t, d)
			must(t, d.try())
		})
	}
}

// A path is a sequence of bytes, which need not be UTF-8.
//
// Covers RDV-7, RDV-36.
func TestPathsOfAnyBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "\xfcber \xff\n\ufffd")
	if err := os.Mkdir(dir, 0o700); errors.Is(err, syscall.EILSEQ) {
		t.Skip("this file system takes only UTF-8")
	}
	in, out := filepath.Join(dir, "in\xe4"), filepath.Join(dir, "out\xc3")
	must(t, syscall.Mkfifo(in, 0o600))
	must(t, syscall.Mkfifo(out, 0o600))
	t.Setenv(EnvIn, in)
	t.Setenv(EnvOut, out)
	for name, dial := range map[string]func() (*Channel, error){
		"DialEnv": func() (*Channel, error) { return DialEnv(testContext(t), nil) },
		"Dial":    func() (*Channel, error) { return Dial(testContext(t), in, out, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			dialled := background(func() error {
				c, err := dial()
				if err != nil {
					return err
				}
				return c.Close()
			})
			p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
			defer func() { p.close() }()
			opened := background(func() (err error) {
				p.w, err = syscall.Open(in, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
				return err
			})
			must(t, wait(t, dialled)) // before the open, which would wait for ever after an error
			must(t, wait(t, opened))
			syscall.SetNonblock(p.r, false)
			p.mustEnd()
		})
	}
}

// Covers RDV-1, RDV-11, RDV-21.
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

// If one path is refused, the client does not even open the other: a server that waits
// there for its client goes on waiting.
//
// Covers RDV-11.
func TestRefusedPathOpensNothing(t *testing.T) {
	in, _ := makePipes(t)
	opened := background(func() error {
		fd, err := syscall.Open(in, syscall.O_WRONLY, 0)
		syscall.Close(fd)
		return err
	})
	for range 500 { // in at least one round the server waits by now
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

// Between the look and the open, the path may come to lead elsewhere.
//
// Covers RDV-21.
func TestOpenedIsNoPipe(t *testing.T) {
	checkLeaks(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	pipe, _ := makePipes(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(pipe, link))
	for _, path := range []string{file, link} {
		if _, err := openPipe(path, syscall.O_RDONLY); !errors.Is(err, ErrBadRendezvous) {
			t.Fatalf("error is %v", err)
		}
	}
}

// A server locks the pipe that it reads, so that a client whose paths are swapped notices.
//
// Covers RDV-35.
func TestSwappedPaths(t *testing.T) {
	for _, locked := range []int{syscall.LOCK_EX, syscall.LOCK_SH, syscall.LOCK_UN} {
		t.Run(sprint("lock ", locked), func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			server := mustOpen(t, in, syscall.O_RDONLY|syscall.O_NONBLOCK)
			defer syscall.Close(server)
			must(t, syscall.Flock(server, locked))
			timeout := 30 * time.Millisecond
			if locked == syscall.LOCK_EX {
				timeout = 0 // the default: refused long before
			}
			_, err := Dial(testContext(t), in, out, &Options{Timeout: timeout})
			if locked == syscall.LOCK_EX {
				if !errors.Is(err, ErrBadRendezvous) || !strings.Contains(err.Error(), "pass the server's out path as in and its in path as out") {
					t.Fatalf("error is %v", err)
				}
				return
			}
			// A shared lock proves nothing: another client may read there as well.
			if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "and that in and out are not swapped (in is the server's out path, and out is its in path)") {
				t.Fatalf("error is %v", err)
			}
		})
	}
}

// The server may come, and lock, only after a client with swapped paths.
//
// Covers RDV-35.
func TestSwappedPathsServerComesLater(t *testing.T) {
	checkLeaks(t)
	in, out := makePipes(t)
	dialled := background(func() error {
		_, err := Dial(testContext(t), in, out, nil)
		return err
	})
	w := mustOpen(t, in, syscall.O_WRONLY) // waits until the client reads
	syscall.Close(w)
	server := mustOpen(t, in, syscall.O_RDONLY|syscall.O_NONBLOCK)
	defer syscall.Close(server)
	must(t, syscall.Flock(server, syscall.LOCK_EX))
	if err := wait(t, dialled); !errors.Is(err, ErrBadRendezvous) {
		t.Fatalf("error is %v", err)
	}
}

// Covers RDV-9, RDV-21.
func TestEmptyDirectoryStaysEmpty(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(testContext(t), filepath.Join(dir, "in"), filepath.Join(dir, "out"), &Options{Timeout: -1})
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 0 {
		t.Fatal(entries)
	}
}
