//go:build !windows

package ipcchannel

import (
	"errors"
	"syscall"
)

// isReset reports whether err says that the connection was reset.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED)
}

// isPeerGone reports whether err says that nobody reads what was written.
func isPeerGone(err error) bool { return errors.Is(err, syscall.EPIPE) }

// isConnected reports whether a socket has a peer still.
func isConnected(fd uintptr) bool {
	_, err := syscall.Getpeername(int(fd))
	return err == nil
}

// isNobodyThere reports whether a failed connect is worth another try: nobody
// listens yet, or the listener went away during the handshake.
func isNobodyThere(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || isReset(err) || errors.Is(err, syscall.ETIMEDOUT)
}

// isNever reports whether this system does not let us use an address.
func isNever(err error) bool {
	for _, never := range []syscall.Errno{syscall.ENETUNREACH, syscall.EAFNOSUPPORT,
		syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, never) {
			return true
		}
	}
	return false
}

// isNotAvailable reports whether there is no such address, or no port is left
// to connect from.
func isNotAvailable(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }
