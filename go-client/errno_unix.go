//go:build !windows

package ipcchannel

import (
	"errors"
	"syscall"
)

// isReset reports whether err says that the connection was reset.
func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// isConnected reports whether a socket still has a peer.
func isConnected(fd uintptr) bool {
	_, err := syscall.Getpeername(int(fd))
	return err == nil
}

// isNever reports whether this system will never let this process use an address.
func isNever(err error) bool {
	for _, never := range []syscall.Errno{syscall.ENETUNREACH, syscall.EAFNOSUPPORT,
		syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, never) {
			return true
		}
	}
	return false
}

// isLacking reports whether this end has run out of something, such as descriptors, or
// ports to connect from.
func isLacking(err error) bool {
	for _, lacking := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, lacking) {
			return true
		}
	}
	return false
}

// isNotAvailable reports whether there is no such address, or no port is left
// to connect from.
func isNotAvailable(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }
