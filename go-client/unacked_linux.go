package ipcchannel

import (
	"syscall"
	"unsafe"
)

// unacknowledged returns how many bytes of output the peer's system does not
// have yet, the end of the stream included, or -1 if that cannot be known.
func unacknowledged(fd uintptr) int {
	var n int32
	// TIOCOUTQ is SIOCOUTQ by another name; package syscall has only this one.
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return -1
	}
	return int(n)
}
