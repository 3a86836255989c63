package ipcchannel

import (
	"errors"
	"syscall"
)

// Numbers of Windows Sockets that the package syscall does not name.
const (
	wsaeAccess       syscall.Errno = 10013
	wsaeAFNoSupport  syscall.Errno = 10047
	wsaeAddrNotAvail syscall.Errno = 10049
	wsaeNetUnreach   syscall.Errno = 10051
	wsaeShutdown     syscall.Errno = 10058
	wsaeTimedOut     syscall.Errno = 10060
	wsaeConnRefused  syscall.Errno = 10061
)

// isReset reports whether err says that the connection was reset.
func isReset(err error) bool {
	return errors.Is(err, syscall.WSAECONNRESET) || errors.Is(err, syscall.WSAECONNABORTED)
}

// isPeerGone reports whether err says that nobody reads what was written.
func isPeerGone(err error) bool { return errors.Is(err, wsaeShutdown) }

// isConnected reports whether a socket has a peer still.
func isConnected(fd uintptr) bool {
	_, err := syscall.Getpeername(syscall.Handle(fd))
	return err == nil
}

// isNobodyThere reports whether a failed connect is worth another try.
func isNobodyThere(err error) bool {
	return errors.Is(err, wsaeConnRefused) || isReset(err) || errors.Is(err, wsaeTimedOut)
}

// isNever reports whether this system does not let us use an address.
func isNever(err error) bool {
	for _, never := range []syscall.Errno{wsaeAccess, wsaeAFNoSupport, wsaeNetUnreach} {
		if errors.Is(err, never) {
			return true
		}
	}
	return false
}

// isNotAvailable reports whether there is no such address, or no port is left
// to connect from.
func isNotAvailable(err error) bool { return errors.Is(err, wsaeAddrNotAvail) }
