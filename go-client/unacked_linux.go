package ipcchannel

import (
	"syscall"
	"unsafe"
)

// unacknowledged returns how many bytes of output the peer's kernel has not
// acknowledged, or -1 on an error. The end of the stream counts as one byte.
func unacknowledged(fd uintptr) int {
	var n int32
	// TIOCOUTQ has the value of SIOCOUTQ, which package syscall lacks.
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return -1
	}
	return int(n)
}
