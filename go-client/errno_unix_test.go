//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// Covers RDV-1, RDV-11.
func TestErrorsOfPaths(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		var coded *Error
		if err := pathError("open", "/x", errno); errors.Is(err, errNotYet) || errors.As(err, &coded) || !errors.Is(err, errno) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG} {
		if err := pathError("open", "/x", errno); !errors.Is(err, ErrBadRendezvous) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	if sameFile(&syscall.Stat_t{Dev: 1, Ino: 5}, &syscall.Stat_t{Dev: 2, Ino: 5}) {
		t.Error("files of two devices are the same")
	}
}

// Covers RDV-11, RDV-14, RDV-43.
func TestErrorsOfAddresses(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENETUNREACH, syscall.EAFNOSUPPORT, syscall.EACCES, syscall.EPERM} {
		if !isNever(errno) {
			t.Errorf("%v is worth another try", errno)
		}
	}
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EIO} {
		if isNever(errno) || !isFailedConnect(os.NewSyscallError("connect", errno)) || isFailedConnect(os.NewSyscallError("socket", errno)) {
			t.Errorf("%v of connect is not worth another try, or of socket it is", errno)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if isNever(errno) || isFailedConnect(os.NewSyscallError("connect", errno)) {
			t.Errorf("%v is worth another try", errno)
		}
	}
}
