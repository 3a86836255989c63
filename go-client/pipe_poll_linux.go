package ipcchannel

import (
	"syscall"
	"time"
	"unsafe"
)

// recheck is how often a blocked Read or Write of a named pipe tries again unasked.
// Zero means never: Linux reports every change that matters.
const recheck time.Duration = 0

// poll returns which of the events a descriptor shows now.
func poll(fd int, events int16) int16 {
	p := pollFD{fd: int32(fd), events: events}
	var now syscall.Timespec
	for {
		// ppoll, because the newer architectures have no poll.
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1,
			uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno != syscall.EINTR {
			return p.revents
		}
	}
}
