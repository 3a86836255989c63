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

// isNobodyThere reports whether a failed connect is worth another try: nobody
// listens yet, or the listener went away during the handshake, or all local
// ports are taken for the moment.
func isNobodyThere(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || isReset(err) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ETIMEDOUT)
}
