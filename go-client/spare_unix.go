//go:build !windows

package ipcchannel

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// spare is another descriptor of the socket that a net.Dialer connects. A server
// may let us in, write and reset before this process looks again. The dialer calls
// that a connect that failed, and closes its socket with all that has arrived. But
// a port where nobody listens refuses the connection; only one that was established
// can be reset (RDV-43).
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

// rescue returns the connection that the dialer took for a failed one because of
// err, or nil if it never was established.
func (s *spare) rescue(err error) *tcpStream {
	wasReset := errors.Is(err, syscall.ECONNRESET)
	if s.fd < 0 || !wasReset && !errors.Is(err, syscall.EPIPE) { // EPIPE: after the peer's end
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
