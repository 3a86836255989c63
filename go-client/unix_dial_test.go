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

// Covers RDV-9, RDV-10, RDV-60, RDV-66, RDV-67.
func TestUnixServerComesLate(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(socketDir(t), "socket")
	dialled := make(chan *Channel, 1)
	dialling := background(func() error {
		c, err := Dial(testContext(t), unixPrefix+path, unixPrefix+path, nil)
		dialled <- c
		return err
	})
	for _, state := range []string{"there is no socket", "no process listens"} {
		_, err := Dial(testContext(t), unixPrefix+path, unixPrefix+path, &Options{Timeout: -1})
		if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), state) || !strings.Contains(err.Error(), "the server is not there") {
			t.Fatalf("error is %v", err)
		}
		if state == "there is no socket" {
			fd := boundAt(t, path)
			defer syscall.Close(fd)
		}
	}
	must(t, os.Remove(path))
	l := listenAt(t, path, 1)
	p := l.accept()
	must(t, wait(t, dialling))
	c := <-dialled
	mustSend(t, c, []byte("hello"))
	if got := p.mustReadFrame(); string(got) != "hello" {
		t.Fatalf("peer got %q", got)
	}
	p.close()
	l.close()
	must(t, c.Close())
}

// A path is opened as the bytes that it is.
//
// Covers RDV-9, RDV-36, RDV-60.
func TestUnixOneTryConnects(t *testing.T) {
	names := []string{"socket", "a b:80"}
	if _, err := os.Lstat("/proc/self"); err == nil { // macOS takes names in UTF-8 only
		names = append(names, "\xff\xfe")
	}
	for _, name := range names {
		checkLeaks(t)
		l := listenAt(t, filepath.Join(socketDir(t), name), 1)
		c, err := Dial(testContext(t), l.where, l.where, &Options{Timeout: -1})
		must(t, err)
		l.accept().close()
		must(t, c.Close())
		l.close()
	}
}

// Covers RDV-60.
func TestUnixLongestPath(t *testing.T) {
	dir := socketDir(t)
	path := dir + "/" + strings.Repeat("s", maxSocketPath-len(dir)-1)
	l := listenAt(t, path, 1)
	mustDial(t, l.where, l.where, nil).Close()
	if _, err := Dial(testContext(t), l.where+"s", l.where+"s", nil); !errors.Is(err, ErrBadRendezvous) {
		t.Fatalf("error is %v", err)
	}
}

// A server whose queue is full has room again once it accepts.
//
// Covers RDV-9, RDV-10, RDV-67.
func TestUnixFullQueue(t *testing.T) {
	checkLeaks(t)
	l := listenUnix(t, 0)
	defer l.close()
	var err error
	opened := 0
	for ; err == nil && opened < 10; opened++ {
		var c *Channel
		if c, err = Dial(testContext(t), l.where, l.where, &Options{Timeout: -1}); err == nil {
			defer c.Close()
		}
	}
	if !errors.Is(err, ErrTimeout) {
		t.Fatalf("error is %v", err)
	}
	const timeout = 30 * time.Millisecond
	start := time.Now()
	_, err = Dial(testContext(t), l.where, l.where, &Options{Timeout: timeout})
	if passed := time.Since(start); !errors.Is(err, ErrTimeout) || passed < timeout || passed > generous/2 {
		t.Fatalf("%v after %v", err, passed)
	}
	dialling := background(func() error {
		c, err := Dial(testContext(t), l.where, l.where, nil)
		c.Close()
		return err
	})
	for range opened {
		l.accept().close()
	}
	must(t, wait(t, dialling))
}

// Covers RDV-10, RDV-11, RDV-66.
func TestUnixRefusedPaths(t *testing.T) {
	l := listenUnix(t, 8)
	dir := filepath.Dir(l.path)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Symlink(l.path, at("link")))
	must(t, os.Symlink(at("missing"), at("dangling")))
	must(t, os.WriteFile(at("file"), []byte("precious"), 0o600))
	must(t, syscall.Mkfifo(at("pipe"), 0o600))
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: at("datagram")})
	must(t, err)
	defer datagram.Close()
	foreign := listenAt(t, at("foreign"), 8)
	cases := []struct{ path, says string }{
		{at("link"), "a symbolic link, not a Unix socket"},
		{at("dangling"), "a symbolic link, not a Unix socket"},
		{at("file"), "not a Unix socket"},
		{dir, "not a Unix socket"},
		{"/dev/null", "not a Unix socket"},
		{at("pipe"), "not a Unix socket"},
		{at("datagram"), "not a stream socket"},
		{at("file/socket"), "not a directory"},
	}
	if os.Geteuid() == 0 {
		must(t, os.Chown(foreign.path, 12345, 12345))
		cases = append(cases, struct{ path, says string }{foreign.path, "belongs to user 12345, which is neither user 0 nor root"})
	} else {
		t.Log("NOT TESTED: giving a socket to another user needs root")
	}
	for _, v := range cases {
		t.Run(filepath.Base(v.path), func(t *testing.T) {
			checkLeaks(t)
			_, err := Dial(testContext(t), unixPrefix+v.path, unixPrefix+v.path, nil)
			if !errors.Is(err, ErrBadRendezvous) || !strings.Contains(err.Error(), v.says) {
				t.Fatalf("error is %v", err)
			}
		})
	}
	l.mustBeUntouched()
	foreign.mustBeUntouched()
	if content, err := os.ReadFile(at("file")); err != nil || string(content) != "precious" {
		t.Fatalf("the file has %q, %v", content, err)
	}
}

// Covers RDV-10, RDV-11, RDV-14, RDV-67.
func TestErrorsOfSockets(t *testing.T) {
	var coded *Error
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.ECONNREFUSED, syscall.EAGAIN, syscall.EIO} {
		err := socketError("connect to", "/x", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)})
		if !isNotYet(err) || errors.As(err, &coded) || !errors.Is(err, errno) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		err := socketError("connect to", "/x", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)})
		if isNotYet(err) || errors.As(err, &coded) || !errors.Is(err, errno) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	if err := socketError("look at", "/x", syscall.EIO); isNotYet(err) || !errors.Is(err, syscall.EIO) {
		t.Errorf("an error of lstat gives %v", err)
	}
	for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.ELOOP, syscall.ENOTDIR,
		syscall.EISDIR, syscall.ENAMETOOLONG, syscall.EPROTOTYPE, syscall.ENOTSOCK} {
		if err := socketError("connect to", "/x", errno); !errors.Is(err, ErrBadRendezvous) || !errors.Is(err, errno) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
}

// The path may come to lead elsewhere between two system calls.
//
// Covers RDV-10, RDV-66, RDV-67.
func TestUnixPathChangesBeforeConnect(t *testing.T) {
	for name, v := range map[string]struct {
		change func(path string) error
		want   error
	}{
		"removed":         {func(string) error { return nil }, ErrTimeout},
		"a file":          {func(path string) error { return os.WriteFile(path, nil, 0o600) }, ErrBadRendezvous},
		"a dangling link": {func(path string) error { return os.Symlink("missing", path) }, ErrBadRendezvous},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			l := listenUnix(t, 1)
			d := newUnixConnector(l.path, nil)
			d.beforeConnect = func() {
				must(t, os.Remove(l.path))
				must(t, v.change(l.path))
			}
			if _, err := d.dial(testContext(t), newPacing(20*time.Millisecond)); !errors.Is(err, v.want) {
				t.Fatalf("error is %v", err)
			}
			l.mustBeUntouched()
			l.close()
		})
	}
}

// A Dial that is called off while the queue is full leaves nothing.
//
// Covers RDV-10.
func TestUnixDialCancelledAtFullQueue(t *testing.T) {
	checkLeaks(t)
	l := listenUnix(t, 0)
	defer l.close()
	ctx, cancel := context.WithCancel(context.Background())
	d := newUnixConnector(l.path, nil)
	tries := 0
	d.beforeConnect = func() {
		if tries++; tries == 3 {
			cancel()
		}
	}
	for {
		s, err := d.dial(ctx, newPacing(time.Hour))
		if err == nil {
			defer s.Close()
			tries = 0
			continue
		}
		if !errors.Is(err, context.Canceled) || !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("error is %v", err)
		}
		return
	}
}
