package ipcchannel

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Users that no process of the tests runs as.
const (
	stranger      = 12345
	otherStranger = 12346
)

// asUser runs f in a thread of another user, which ends with f: the kernel has users for
// each thread.
func asUser(t *testing.T, user int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: being another user needs root")
	}
	must(t, wait(t, background(func() error {
		runtime.LockOSThread() // and never unlocked
		unchanged := ^uintptr(0)
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, unchanged, uintptr(user), unchanged)
		if errno != 0 {
			return errno
		}
		f()
		return nil
	})))
}

// listenAsUser returns a listener of another user, whose file belongs to a third one.
func listenAsUser(t *testing.T, user, owner int) *unixListener {
	t.Helper()
	dir := socketDir(t)
	must(t, os.Chmod(dir, 0o777))
	var l *unixListener
	asUser(t, user, func() { l = listenAt(t, filepath.Join(dir, "socket"), 2) })
	must(t, os.Chown(l.path, owner, owner))
	return l
}

// The file is root's, but the process that listens is not.
//
// Covers RDV-10, RDV-65.
func TestServerOfAnotherUserIsRefused(t *testing.T) {
	l := listenAsUser(t, stranger, 0)
	checkLeaks(t)
	for _, allowed := range [][]uint32{nil, {otherStranger}} {
		_, err := Dial(testContext(t), l.where, l.where, &Options{AllowedUsers: allowed})
		if !errors.Is(err, ErrBadRendezvous) || !strings.Contains(err.Error(), "the server at \""+l.path+"\" belongs to user 12345") {
			t.Fatalf("error is %v", err)
		}
		l.accept().mustEndWithoutData()
	}
}

// Covers RDV-65, RDV-66.
func TestServerOfAnAllowedUserIsAccepted(t *testing.T) {
	for _, owner := range []int{stranger, otherStranger} {
		l := listenAsUser(t, stranger, owner)
		c := mustDial(t, l.where, l.where, &Options{AllowedUsers: []uint32{otherStranger, stranger}})
		mustSend(t, c, []byte("hello"))
		if got := l.accept().mustReadFrame(); string(got) != "hello" {
			t.Fatalf("peer got %q", got)
		}
	}
}

// A client of another user takes a server of its own user or of root, and tells what to
// do about a socket to which it may not write.
//
// Covers RDV-11, RDV-65, RDV-66.
func TestUnixClientOfAnotherUser(t *testing.T) {
	own, roots, private := listenAsUser(t, stranger, stranger), listenAsUser(t, 0, 0), listenAsUser(t, 0, 0)
	for _, l := range []*unixListener{own, roots} {
		must(t, os.Chmod(l.path, 0o666))
	}
	must(t, os.Chmod(private.path, 0o600))
	asUser(t, stranger, func() {
		for _, l := range []*unixListener{own, roots} {
			s, err := newUnixConnector(l.path, nil).try()
			if err != nil {
				t.Error(err)
				continue
			}
			s.Close()
		}
		_, err := newUnixConnector(private.path, nil).try()
		if !errors.Is(err, ErrBadRendezvous) || !strings.Contains(err.Error(), "run as the server's user") {
			t.Errorf("error is %v", err)
		}
	})
	private.mustBeUntouched()
}
