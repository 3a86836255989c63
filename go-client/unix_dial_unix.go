//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// notYet is the error of a try that may succeed when it is made again.
type notYet struct{ error }

func (e notYet) Unwrap() error { return e.error }

func isNotYet(err error) bool { return errors.As(err, new(notYet)) }

// unixConnector makes one Dial over a Unix socket.
type unixConnector struct {
	path    string
	allowed []uint32 // the users whose server is trusted besides root's and our own
	// verify makes sure that the server at the other end belongs to a trusted user.
	// seen is what the path led to before connecting.
	verify func(c *unixConnector, conn *net.UnixConn, seen *syscall.Stat_t) error

	// For tests: called where the path may come to lead elsewhere.
	beforeConnect, afterConnect func()
}

func newUnixConnector(path string, allowed []uint32) *unixConnector {
	nothing := func() {}
	return &unixConnector{path: path, allowed: allowed, verify: (*unixConnector).verifyServer,
		beforeConnect: nothing, afterConnect: nothing}
}

// dialUnix connects to a server that may not have created its socket yet.
func dialUnix(ctx context.Context, path string, allowed []uint32, wait *pacing) (stream, error) {
	return newUnixConnector(path, allowed).dial(ctx, wait)
}

func (c *unixConnector) dial(ctx context.Context, wait *pacing) (stream, error) {
	for {
		conn, err := c.try()
		if err == nil {
			return newUnixStream(conn), nil
		}
		if !isNotYet(err) {
			return nil, err
		}
		if err := wait.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// try makes one try. It needs no context: connect(2) of a Unix socket that does not
// block either succeeds or fails, and never waits for the server.
func (c *unixConnector) try() (*net.UnixConn, error) {
	var seen syscall.Stat_t
	if err := c.check(&seen); err != nil {
		return nil, err
	}
	c.beforeConnect()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: c.path})
	if err != nil {
		return nil, socketError("connect to", c.path, err)
	}
	c.afterConnect()
	if err := c.verify(c, conn, &seen); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// check refuses everything but a socket of a trusted user, and fills in st. It looks
// before anything connects, since to connect to a stranger's server tells it of us.
func (c *unixConnector) check(st *syscall.Stat_t) error {
	if err := ignoringEINTR(func() error { return syscall.Lstat(c.path, st) }); err != nil {
		return socketError("look at", c.path, err)
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFSOCK:
	case syscall.S_IFLNK:
		return newError(CodeBadRendezvous, "%q is a symbolic link, not a Unix socket: pass the path that it leads to", c.path)
	default:
		return newError(CodeBadRendezvous, "%q is not a Unix socket: pass the path at which the server listens", c.path)
	}
	if why := whyNotTrusted(st.Uid, c.allowed); why != "" {
		return newError(CodeBadRendezvous, "Unix socket %q %s", c.path, why)
	}
	return nil
}

// verifyIdentity is for systems where this package cannot ask for the server's user.
// The path led to the same socket before connecting and after, so it is this socket
// that the connection was made to, and check has looked at its owner.
func (c *unixConnector) verifyIdentity(_ *net.UnixConn, seen *syscall.Stat_t) error {
	var now syscall.Stat_t
	if err := c.check(&now); err != nil {
		return err
	}
	if !sameFile(seen, &now) || changeTime(seen) != changeTime(&now) {
		return notYet{fmt.Errorf("%q was replaced while this client connected", c.path)}
	}
	return nil
}

// socketError sorts the errors of a path into those that time can heal, those that it
// cannot, and those that have nothing to do with the path.
func socketError(verb, path string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case syscall.ENOENT:
		return notYet{fmt.Errorf("there is no socket at %q: the server is not there; check that it is running, and that this is its path: %w", path, errno)}
	case syscall.ECONNREFUSED:
		return notYet{fmt.Errorf("no process listens at %q: the server is not there; check that it is running: %w", path, errno)}
	case syscall.EAGAIN:
		return notYet{fmt.Errorf("the queue of the server at %q is full: check whether it still accepts clients: %w", path, errno)}
	case syscall.EPROTOTYPE, syscall.ENOTSOCK:
		return wrapError(CodeBadRendezvous, errno, "%q is not a stream socket: pass the path at which the server listens", path)
	case syscall.EACCES, syscall.EPERM:
		return wrapError(CodeBadRendezvous, errno,
			"cannot %s %q: run as the server's user, or let the server allow this one", verb, path)
	case syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG:
		return wrapError(CodeBadRendezvous, errno, "cannot %s %q", verb, path)
	}
	if isFailedConnect(err) {
		return notYet{fmt.Errorf("cannot connect to %q; check that the server is running, and that this is its path: %w", path, errno)}
	}
	return fmt.Errorf("ipcchannel: cannot %s %q: %w", verb, path, err)
}
