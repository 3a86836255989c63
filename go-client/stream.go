package ipcchannel

import (
	"syscall"
	"time"
)

// stream is a connected transport. One goroutine at a time reads and one at a
// time writes; the other methods may be called at any time.
//
// A deadline in the past ends the Read or Write under way, which then returns
// an error that matches os.ErrDeadlineExceeded. It may also return that error
// spuriously: the caller then checks whether there is a reason to stop, sets the
// deadline anew and tries again.
type stream interface {
	// Read waits for at least one byte. The end of the stream is io.EOF.
	Read(p []byte) (int, error)
	// Write waits until the operating system has taken all of p. With an error
	// it returns how many bytes the system has taken.
	Write(p []byte) (int, error)
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error

	// CloseWrite ends the output and keeps the input open, where the
	// transport can.
	CloseWrite() error
	// unsent returns how many bytes of output the peer's kernel does not have
	// yet, or -1 if the system cannot tell.
	unsent() int
	// isDead reports, after Read has come to the end, whether a Write would
	// return at once because the connection is over in both directions.
	isDead() bool
	// isAccepted reports whether a process holds the other end, or has held it.
	isAccepted() bool
	// Close frees the descriptors and ends a Read or Write under way.
	Close() error
}

// withDescriptor calls f with the descriptor of a connection, which stays open
// meanwhile. It fails if the connection has been closed.
func withDescriptor(conn syscall.Conn, f func(fd uintptr)) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// past is a deadline that is always over.
var past = time.Unix(1, 0)
