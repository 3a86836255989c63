//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// pipeDial is one Dial over named pipes. The end to read from stays open from
// one try to the next: the server can open its end only while it is.
type pipeDial struct {
	inPath, outPath string
	in, out         int // descriptors, -1 if not open
	inStat          syscall.Stat_t
	bothOpen        func() // for tests: called before the paths are looked at again
}

func newPipeDial(inPath, outPath string) *pipeDial {
	return &pipeDial{inPath: inPath, outPath: outPath, in: -1, out: -1, bothOpen: func() {}}
}

// errNotYet is the error of a try that may succeed when it is made again.
var errNotYet = errors.New("the other end is not open")

// dialPipes connects to a server that may not have created the pipes yet.
func dialPipes(ctx context.Context, inPath, outPath string, wait *patience) (stream, error) {
	d := newPipeDial(inPath, outPath)
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
func (d *pipeDial) try() error {
	inStat, outStat, err := d.look()
	if d.in >= 0 && (err != nil || !sameFile(&inStat, &d.inStat)) {
		if d.served() {
			return nil
		}
		d.release()
	}
	if err != nil {
		return err
	}
	if d.in < 0 {
		if d.in, err = openPipe(d.inPath, syscall.O_RDONLY, &inStat); err != nil {
			return err
		}
		d.inStat = inStat
	}
	d.out, err = openPipe(d.outPath, syscall.O_WRONLY, &outStat)
	if errors.Is(err, errNotYet) && d.served() {
		return nil
	}
	if err != nil {
		return err
	}
	d.bothOpen()
	return d.confirm(&outStat)
}

// look finds out what the two paths lead to, without opening anything: opening
// something else than a pipe may have effects of its own.
func (d *pipeDial) look() (in, out syscall.Stat_t, err error) {
	if err = lookAt(d.inPath, &in); err != nil && !errors.Is(err, errNotYet) {
		return in, out, err
	}
	if outErr := lookAt(d.outPath, &out); outErr != nil {
		return in, out, outErr
	}
	if err == nil && sameFile(&in, &out) {
		err = newError(CodeBadRendezvous, "%q and %q are the same named pipe", d.inPath, d.outPath)
	}
	return in, out, err
}

// confirm looks at the paths again now that both ends are open. A server
// replaces what we write to first and what we read from last: if that is still
// right, so is the other. If it is another one by now and the other is right, we
// hold one of an old pair and one of a new. If both have gone, the pair is that
// of the server which read it, and which may have written and left meanwhile.
func (d *pipeDial) confirm(outStat *syscall.Stat_t) error {
	var inNow, outNow syscall.Stat_t
	err := lookAt(d.inPath, &inNow)
	if err == nil && sameFile(&inNow, &d.inStat) {
		return nil
	}
	isMixed := err == nil && lookAt(d.outPath, &outNow) == nil && sameFile(&outNow, outStat)
	if !isMixed && (poll(d.out, 0)&pollErr == 0 || poll(d.in, pollIn)&pollIn != 0) {
		return nil
	}
	d.release()
	return fmt.Errorf("%w: the named pipes were replaced", errNotYet)
}

// served reports whether the server came, wrote and left while this side
// waited: its output is there, and nobody has the pipe open any more.
func (d *pipeDial) served() bool {
	const both = pollIn | pollHup
	return poll(d.in, pollIn)&both == both
}

// stream turns the descriptors into a stream, which owns them from now on.
func (d *pipeDial) stream() (stream, error) {
	in, out := d.in, d.out
	d.in, d.out = -1, -1
	return newPipeStream(in, d.inPath, out, d.outPath)
}

// release closes what is open.
func (d *pipeDial) release() {
	if d.in >= 0 {
		syscall.Close(d.in)
	}
	if d.out >= 0 {
		syscall.Close(d.out)
	}
	d.in, d.out = -1, -1
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
	if st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return newError(CodeBadRendezvous, "%q is not a named pipe", path)
	}
	if euid := os.Geteuid(); int(st.Uid) != euid {
		return newError(CodeBadRendezvous, "named pipe %q belongs to user %d, not to user %d", path, st.Uid, euid)
	}
	return nil
}

// openPipe opens the named pipe that want describes. Non-blocking, so that no
// thread waits in open(2) where nothing could call it off.
func openPipe(path string, mode int, want *syscall.Stat_t) (int, error) {
	fd := -1
	err := ignoringEINTR(func() (err error) {
		fd, err = syscall.Open(path, mode|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, pathError("open", path, err)
	}
	var st syscall.Stat_t
	if err = ignoringEINTR(func() error { return syscall.Fstat(fd, &st) }); err == nil {
		err = checkPipe(path, &st)
	}
	if err == nil && !sameFile(&st, want) {
		err = fmt.Errorf("%w: %q was replaced", errNotYet, path)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// pathError sorts the errors of a path into those that time can heal, those
// that it cannot, and those that have nothing to do with the path.
func pathError(verb, path string, err error) error {
	switch err {
	case syscall.ENOENT, syscall.ENXIO:
		return fmt.Errorf("%w: %s %q: %w", errNotYet, verb, path, err)
	case syscall.ENOTDIR, syscall.ELOOP, syscall.EACCES, syscall.EPERM, syscall.ENAMETOOLONG:
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
