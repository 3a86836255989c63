//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Covers RDV-65, RDV-66.
func TestTrustedUsers(t *testing.T) {
	own := uint32(os.Geteuid())
	stranger := own + 12345
	for _, user := range []uint32{own, 0} {
		if why := whyNotTrusted(user, nil); why != "" {
			t.Errorf("user %d is not trusted: %s", user, why)
		}
	}
	if why := whyNotTrusted(stranger, []uint32{own, stranger + 1}); !strings.Contains(why, "Options.AllowedUsers") {
		t.Errorf("a stranger is trusted: %q", why)
	}
	if why := whyNotTrusted(stranger, []uint32{stranger + 1, stranger}); why != "" {
		t.Errorf("a user that the application allows is not trusted: %s", why)
	}
}

// identityConnector verifies the server as systems do that do not tell its user.
func identityConnector(path string) *unixConnector {
	d := newUnixConnector(path, nil)
	d.verify = (*unixConnector).verifyIdentity
	return d
}

// Covers RDV-65.
func TestIdentityIsVerified(t *testing.T) {
	checkLeaks(t)
	l := listenUnix(t, 1)
	defer l.close()
	s, err := identityConnector(l.path).dial(testContext(t), newPacing(0))
	must(t, err)
	l.accept().close()
	must(t, s.Close())
}

// A socket that has been replaced by a trusted one is no reason to give up: its server
// may have made it anew. But the connection to the first one is not used.
//
// Covers RDV-10, RDV-65.
func TestIdentityChangesOnce(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, l *unixListener) *unixListener{
		"another socket": func(t *testing.T, l *unixListener) *unixListener {
			must(t, os.Remove(l.path))
			return listenAt(t, l.path, 1)
		},
		"the same file, changed meanwhile": func(t *testing.T, l *unixListener) *unixListener {
			var before, after syscall.Stat_t
			must(t, syscall.Lstat(l.path, &before))
			eventually(t, "the clock of the file system goes on", func() bool {
				must(t, os.Chmod(l.path, 0o600))
				must(t, syscall.Lstat(l.path, &after))
				return changeTime(&before) != changeTime(&after)
			})
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			first := listenUnix(t, 2)
			second := first
			d := identityConnector(first.path)
			d.afterConnect = func() {
				second = change(t, first)
				d.afterConnect = func() {}
			}
			s, err := d.dial(testContext(t), newPacing(generous))
			must(t, err)
			first.accept().mustEndWithoutData()
			p := second.accept()
			_, err = s.Write([]byte("x"))
			must(t, err)
			if _, err := p.Read(make([]byte, 1)); err != nil {
				t.Fatalf("the second connection: %v", err)
			}
			s.Close()
			p.close()
			first.close()
			second.close()
		})
	}
}

// mustEndWithoutData checks that the client has closed the connection and sent nothing.
func (p *peer) mustEndWithoutData() {
	p.t.Helper()
	if n, err := readFD(p.r, make([]byte, 1)); n != 0 || err != nil {
		p.t.Errorf("the peer got %d bytes, %v", n, err)
	}
	p.close()
}

// Covers RDV-10, RDV-65, RDV-66.
func TestIdentityChangesForGood(t *testing.T) {
	changes := map[string]func(path string) error{
		"a link": func(path string) error {
			must(t, os.Rename(path, path+"2"))
			return os.Symlink(path+"2", path)
		},
		"a file": func(path string) error {
			must(t, os.Remove(path))
			return os.WriteFile(path, nil, 0o600)
		},
	}
	if os.Geteuid() == 0 {
		changes["another owner"] = func(path string) error { return os.Chown(path, 12345, 12345) }
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			l := listenUnix(t, 2)
			d := identityConnector(l.path)
			d.afterConnect = func() { must(t, change(l.path)) }
			if _, err := d.dial(testContext(t), newPacing(0)); !errors.Is(err, ErrBadRendezvous) {
				t.Fatalf("error is %v", err)
			}
			l.accept().mustEndWithoutData()
			l.mustBeUntouched()
			l.close()
		})
	}
}

// Where the server's user cannot be asked for, nothing is sent.
//
// Covers RDV-10, RDV-65.
func TestUnixServerCannotBeVerified(t *testing.T) {
	checkLeaks(t)
	l := listenUnix(t, 1)
	defer l.close()
	d := newUnixConnector(l.path, nil)
	d.verify = func(*unixConnector, *net.UnixConn, *syscall.Stat_t) error { return syscall.EBADF }
	if _, err := d.dial(testContext(t), newPacing(time.Hour)); !errors.Is(err, syscall.EBADF) {
		t.Fatalf("error is %v", err)
	}
	l.accept().mustEndWithoutData()
}
