//go:build linux || darwin

package ipcchannel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
)

// pipeConnector is one Dial over named pipes. It keeps what it has open from one try to
// the next, because the server can open its ends only while ours are open.
type pipeConnector struct {
	inPath, outPath string
	in, out         int    // descriptors, -1 if not open
	initialData     []byte // what was read when looking for a writer

	// For tests: called between two system calls, where another process may act.
	between func(moment)
}

// moment names a point between two system calls.
type moment string

const (
	afterOpening moment = "after opening"
	afterOut     moment = "after a look at out"
	afterIn      moment = "after a look at in"
	afterUnseen  moment = "after the server was not seen"
)

func newPipeConnector(inPath, outPath string) *pipeConnector {
	return &pipeConnector{inPath: inPath, outPath: outPath, in: -1, out: -1, between: func(moment) {}}
}

// errNotYet is the error of a try that may succeed when it is made again.
var errNotYet = errors.New("the other end is not open")

// dialPipes connects to a server that may not have created the pipes yet.
func dialPipes(ctx context.Context, inPath, outPath string, wait *pacing) (stream, error) {
	d := newPipeConnector(inPath, outPath)
	defer d.release()
	for {
		err := d.try()
		if err == nil {
			return d.stream()
		}
		if !errors.Is(err, errNotYet) {
			return nil, err
		}
		if err := wait.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// try makes one try. It returns nil when connected.
func (d *pipeConnector) try() error {
	err := d.open()
	if err != nil && !errors.Is(err, errNotYet) {
		return err
	}
	if d.in < 0 {
		return err
	}
	d.between(afterOpening)
	if d.seesServer() {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: no process has %q open for writing; check that the server opens both pipes", errNotYet, d.inPath)
	}
	d.between(afterUnseen)
	if d.isPathReplaced() {
		// Meanwhile the server may have come, written, left and removed its pipes.
		if d.seesServer() {
			return nil
		}
		d.release()
	}
	return err
}

// open opens what is not open yet.
func (d *pipeConnector) open() error {
	if d.in >= 0 && (d.out >= 0 || d.seesServer()) {
		return nil
	}
	// Check both paths before opening either: opening something other than a pipe
	// may have side effects.
	if err := d.check(); err != nil {
		return err
	}
	var err error
	if d.in < 0 {
		if d.in, err = openPipe(d.inPath, syscall.O_RDONLY); err != nil {
			return err
		}
	}
	if isReadByServer(d.in) {
		return newError(CodeBadRendezvous, "in %q and out %q are swapped, because the server itself reads from %q: pass the server's out path as in and its in path as out",
			d.inPath, d.outPath, d.inPath)
	}
	if d.isPathReplaced() {
		return fmt.Errorf("%w: %q was replaced", errNotYet, d.inPath)
	}
	d.out, err = openPipe(d.outPath, syscall.O_WRONLY)
	return err
}

// check refuses paths that can never work.
func (d *pipeConnector) check() error {
	var in, out syscall.Stat_t
	inErr, outErr := lookAt(d.inPath, &in), lookAt(d.outPath, &out)
	for _, err := range []error{inErr, outErr} {
		if err != nil && !errors.Is(err, errNotYet) {
			return err
		}
	}
	if err := cmp.Or(inErr, outErr); err != nil {
		return err
	}
	if sameFile(&in, &out) {
		return newError(CodeBadRendezvous, "%q and %q are the same named pipe: pass the paths of two pipes", d.inPath, d.outPath)
	}
	return nil
}

// seesServer reports whether the server holds both of its ends, or came, wrote and
// left. It looks at out first: a server that writes and leaves between the two looks
// has left its bytes in in.
func (d *pipeConnector) seesServer() bool {
	if d.out < 0 {
		const both = pollIn | pollHup
		return poll(d.in, pollIn)&both == both
	}
	isRead := !readersGone(d.out)
	d.between(afterOut)
	if len(d.initialData) > 0 || poll(d.in, pollIn)&pollIn != 0 {
		return true
	}
	if !isRead || !d.hasWriter() {
		return false
	}
	d.between(afterIn)
	// Look at out again: a stray opener may have read it, and left before another opened
	// in for writing.
	return len(d.initialData) > 0 || !readersGone(d.out)
}

// hasWriter reports whether a process has in open for writing, or has written. Only a
// read can tell.
func (d *pipeConnector) hasWriter() bool {
	var first [1]byte
	n, err := readFD(d.in, first[:])
	d.initialData = append(d.initialData, first[:n]...)
	return n > 0 || err == syscall.EAGAIN
}

// isReadByServer reports whether a server has locked the pipe fd. A server locks the
// pipe that it reads, so that a client whose paths are swapped notices.
func isReadByServer(fd int) bool {
	err := ignoringEINTR(func() error { return syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB) })
	if err == nil {
		syscall.Flock(fd, syscall.LOCK_UN)
	}
	return err == syscall.EWOULDBLOCK // any other error: the file system has no locks
}

// isPathReplaced reports whether the path of in leads to something else by now: the
// server has replaced its pipes for its next session, or has gone.
func (d *pipeConnector) isPathReplaced() bool {
	var held, now syscall.Stat_t
	if err := ignoringEINTR(func() error { return syscall.Fstat(d.in, &held) }); err != nil {
		return true
	}
	return lookAt(d.inPath, &now) != nil || !sameFile(&held, &now)
}

// stream turns the descriptors into a stream, which owns them from now on.
func (d *pipeConnector) stream() (stream, error) {
	in, out, initialData := d.in, d.out, d.initialData
	d.in, d.out, d.initialData = -1, -1, nil
	return newPipeStream(in, d.inPath, out, d.outPath, initialData)
}

// release closes what is open.
func (d *pipeConnector) release() {
	if d.in >= 0 {
		syscall.Close(d.in)
	}
	if d.out >= 0 {
		syscall.Close(d.out)
	}
	d.in, d.out, d.initialData = -1, -1, nil
}

// lookAt fills in st for a path that must be a named pipe of our own user.
func lookAt(path string, st *syscall.Stat_t) error {
	if err := ignoringEINTR(func() error { return syscall.Lstat(path, st) }); err != nil {
		return pathError("look at", path, err)
	}
	return checkPipe(path, st)
}

// checkPipe refuses everything but a named pipe of our own user.
func checkPipe(path string, st *syscall.Stat_t) error {
	if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		return newError(CodeBadRendezvous, "%q is a symbolic link, not a named pipe: pass the path of the pipe itself", path)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return newError(CodeBadRendezvous, "%q is not a named pipe: pass the paths of the pipes that the server has created", path)
	}
	if why := whyNotOurs(st.Uid); why != "" {
		return newError(CodeBadRendezvous, "named pipe %q %s", path, why)
	}
	return nil
}

// openPipe opens a named pipe of our own user. It does not block, because a thread that
// waits in open(2) could not be interrupted.
func openPipe(path string, mode int) (int, error) {
	fd := -1
	err := ignoringEINTR(func() (err error) {
		fd, err = syscall.Open(path, mode|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, pathError("open", path, err)
	}
	if fd <= 2 {
		// The program has closed its standard streams. The runtime ends a process whose
		// write to descriptor 1 or 2 gets EPIPE, so take another descriptor.
		defer syscall.Close(fd)
		return openPipe(path, mode)
	}
	// Check again what is open: the path may lead to another file by now.
	var st syscall.Stat_t
	if err = ignoringEINTR(func() error { return syscall.Fstat(fd, &st) }); err == nil {
		err = checkPipe(path, &st)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// pathError classifies an error of a path: a later try may succeed (errNotYet), no try
// ever will (ErrBadRendezvous), or the error has nothing to do with the path.
func pathError(verb, path string, err error) error {
	switch err {
	case syscall.ENOENT:
		return fmt.Errorf("%w: %q does not exist; check that the server is running: %w", errNotYet, path, err)
	case syscall.ENXIO:
		return fmt.Errorf("%w: no process has %q open for reading; check that the server is running, and that in and out are not swapped (in is the server's out path, and out is its in path): %w", errNotYet, path, err)
	case syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.EACCES, syscall.EPERM, syscall.ENAMETOOLONG:
		return wrapError(CodeBadRendezvous, err, "cannot %s %q", verb, path)
	}
	return fmt.Errorf("ipcchannel: cannot %s %q: %w", verb, path, err)
}

func sameFile(a, b *syscall.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}
