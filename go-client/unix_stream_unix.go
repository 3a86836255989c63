//go:build linux || darwin

package ipcchannel

import "net"

// unixStream is a stream over a Unix socket, which has most of it already.
type unixStream struct{ *net.UnixConn }

// sendBuffer is how much output the kernel is asked to take before the peer reads.
// With Linux's default of 208 KiB, a large message takes many more calls of write(2),
// and as many waits for the peer. Where the system allows less (net.core.wmem_max),
// the kernel takes its own limit.
const sendBuffer = 1 << 20

func newUnixStream(conn *net.UnixConn) *unixStream {
	conn.SetWriteBuffer(sendBuffer) // without it, everything works all the same
	return &unixStream{conn}
}

// unsent is what the peer has not read yet.
func (s *unixStream) unsent() int {
	unsent := -1
	withDescriptor(s, func(fd uintptr) { unsent = unacknowledged(fd) })
	return unsent
}

// isDead is false on macOS, which reports no reset of a Unix socket.
func (s *unixStream) isDead() bool {
	dead := true
	withDescriptor(s, func(fd uintptr) { dead = poll(int(fd), 0)&pollHup != 0 })
	return dead
}

// isAccepted is true, since the server can ask for our user even after we have left.
func (s *unixStream) isAccepted() bool { return true }

// Close ends both directions before it gives the descriptor back: a child that another
// goroutine is just starting may hold a copy of it until its exec. After that the peer
// cannot send any more, so what is unread is bounded. It is dropped, because the kernel
// would report a reset to the peer, after everything that this end has sent.
func (s *unixStream) Close() error {
	s.CloseRead()
	s.CloseWrite()
	withDescriptor(s, dropInput)
	return s.UnixConn.Close()
}

// dropInput reads what is there and waits for nothing.
func dropInput(fd uintptr) {
	scrap := make([]byte, readAhead)
	for n := 1; n > 0; {
		n, _ = readFD(int(fd), scrap)
	}
}
