package ipcchannel

import (
	"syscall"
	"time"
	"unsafe"
)

// recheck is how often a blocked Read or Write of a named pipe tries again unasked,
// because macOS does not report the end of a named pipe.
const recheck = 20 * time.Millisecond

// poll returns which of the events a descriptor shows now.
func poll(fd int, events int16) int16 {
	p := pollFD{fd: int32(fd), events: events}
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(&p)), 1, 0)
		if errno != syscall.EINTR {
			return p.revents
		}
	}
}
