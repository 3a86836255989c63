package ipcchannel

import (
	"errors"
	"syscall"
)

// Numbers of Windows Sockets that the package syscall does not name.
const (
	wsaNoMemory      syscall.Errno = 8
	wsaeAccess       syscall.Errno = 10013
	wsaeMFile        syscall.Errno = 10024
	wsaeAFNoSupport  syscall.Errno = 10047
	wsaeAddrNotAvail syscall.Errno = 10049
	wsaeNetUnreach   syscall.Errno = 10051
	wsaeNoBufs       syscall.Errno = 10055
)

// isReset reports whether err says that the connection was reset.
func isReset(err error) bool {
	return errors.Is(err, syscall.WSAECONNRESET) || errors.Is(err, syscall.WSAECONNABORTED)
}

// isConnected reports whether a socket still has a peer.
func isConnected(fd uintptr) bool {
	_, err := syscall.Getpeername(syscall.Handle(fd))
	return err == nil
}

// isNever reports whether this system will never let this process use an address.
func isNever(err error) bool {
	for _, never := range []syscall.Errno{wsaeAccess, wsaeAFNoSupport, wsaeNetUnreach} {
		if errors.Is(err, never) {
			return true
		}
	}
	return false
}

// isLacking reports whether this end has run out of something, such as sockets, or ports
// to connect from.
func isLacking(err error) bool {
	for _, lacking := range []syscall.Errno{wsaNoMemory, wsaeMFile, wsaeNoBufs, wsaeAddrNotAvail} {
		if errors.Is(err, lacking) {
			return true
		}
	}
	return false
}

// isNotAvailable reports whether there is no such address, or no port is left
// to connect from.
func isNotAvailable(err error) bool { return errors.Is(err, wsaeAddrNotAvail) }
