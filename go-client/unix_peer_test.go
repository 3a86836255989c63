//go:build linux || darwin

package ipcchannel

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// unixListener is a listening Unix socket, made of plain system calls.
type unixListener struct {
	t           testing.TB
	fd          int
	path, where string
}

// socketDir returns a new directory whose paths are short enough for sockets, as those of
// t.TempDir are not, which has the name of the test in them.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func listenUnix(t testing.TB, backlog int) *unixListener {
	t.Helper()
	return listenAt(t, filepath.Join(socketDir(t), "socket"), backlog)
}

func listenAt(t testing.TB, path string, backlog int) *unixListener {
	t.Helper()
	l := &unixListener{t: t, fd: boundAt(t, path), path: path, where: unixPrefix + path}
	must(t, syscall.Listen(l.fd, backlog))
	t.Cleanup(l.close)
	return l
}

// boundAt returns a socket at which no process listens yet.
func boundAt(t testing.TB, path string) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	syscall.CloseOnExec(fd)
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	return fd
}

// close stops listening, and leaves the file, as a server does that is killed.
func (l *unixListener) close() {
	if l.fd >= 0 {
		syscall.Close(l.fd)
	}
	l.fd = -1
}

func (l *unixListener) accept() *peer {
	l.t.Helper()
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, _, err = syscall.Accept(l.fd)
		return err
	})
	must(l.t, err)
	syscall.CloseOnExec(fd)
	p := &peer{t: l.t, r: fd, w: fd}
	l.t.Cleanup(p.close)
	return p
}

// mustBeUntouched checks that no client has connected.
func (l *unixListener) mustBeUntouched() {
	l.t.Helper()
	must(l.t, syscall.SetNonblock(l.fd, true))
	if fd, _, err := syscall.Accept(l.fd); err != syscall.EAGAIN {
		syscall.Close(fd)
		l.t.Errorf("a client has connected to %q: %v", l.path, err)
	}
	must(l.t, syscall.SetNonblock(l.fd, false))
}
