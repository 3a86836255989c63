//go:build !windows

package ipcchannel

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// spare is a second descriptor of the socket that a net.Dialer connects. A server may
// accept the connection, write and reset it before this process runs again. The dialer
// then reports a failed connect, and closes its socket with all that has arrived. But a
// port without a listener refuses the connection: only an established connection can be
// reset (RDV-43).
type spare struct{ fd int }

func newSpare(dialer *net.Dialer) *spare {
	s := &spare{fd: -1}
	dialer.Control = func(_, _ string, conn syscall.RawConn) error {
		s.close()
		return conn.Control(s.keepCopy)
	}
	return s
}

func (s *spare) keepCopy(fd uintptr) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if copied, err := syscall.Dup(int(fd)); err == nil {
		syscall.CloseOnExec(copied)
		s.fd = copied
	}
}

func (s *spare) close() {
	if s.fd >= 0 {
		syscall.Close(s.fd)
	}
	s.fd = -1
}

// rescue returns the connection that the dialer gave up because of err, or nil if it was
// never established.
func (s *spare) rescue(err error) *tcpStream {
	wasReset := errors.Is(err, syscall.ECONNRESET)
	if s.fd < 0 || !wasReset && !errors.Is(err, syscall.EPIPE) { // EPIPE: the peer had ended its direction before
		return nil
	}
	file := os.NewFile(uintptr(s.fd), "socket")
	s.fd = -1
	defer file.Close()
	conn, fileErr := net.FileConn(file)
	if fileErr != nil {
		return nil
	}
	rescued := &tcpStream{TCPConn: conn.(*net.TCPConn)}
	if wasReset {
		rescued.resetOnConnect = err // the kernel reports a reset only once
	}
	return rescued
}
