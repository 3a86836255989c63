package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// handshakeGrace is how much longer than the deadline a handshake may take, so
// that the last try, which begins at the deadline, can succeed. The kernel decides at
// once; the grace allows for a busy machine. Only while the server's queue is full does
// it make a failing Dial late.
const handshakeGrace = time.Second

// tcpStream is a stream over a TCP connection. To the net.TCPConn it adds what closing
// has to know.
type tcpStream struct {
	*net.TCPConn
	resetOnConnect error // the reset that connect(2) reported instead of success
}

// dialTCP connects to a server that may not listen yet. It changes the settings of its
// copy of the dialer.
func dialTCP(ctx context.Context, dialer net.Dialer, addr netip.AddrPort, wait *pacing) (stream, error) {
	dialer.Deadline = wait.deadline.Add(handshakeGrace)
	dialer.KeepAlive = -1 // probes have no use on the loopback interface
	dialer.SetMultipathTCP(false)
	for {
		conn, err := connectOnce(ctx, &dialer, addr)
		if err == nil {
			return conn, nil
		}
		if isNever(err) || isNotAvailable(err) && addr.Addr().Is6() {
			// Every system has 127.0.0.1, but ::1 is missing where IPv6 is switched off.
			return nil, wrapError(CodeBadRendezvous, err, "%v cannot be reached", addr)
		}
		if ctx.Err() != nil {
			return nil, calledOff(ctx, err)
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			// Our own deadline: its error must not match that of a context.
			err = errors.New(err.Error())
		} else if !isFailedConnect(err) && !errors.Is(err, errSelf) {
			return nil, fmt.Errorf("ipcchannel: %w", err)
		}
		err = fmt.Errorf("check that the server is running, and that %v is its address: %w", addr, err)
		if err := wait.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// errSelf is the error of a socket that was connected to itself. If no process listens
// at a port of the ephemeral range, the kernel may give a client that very port, and TCP
// then connects the socket to itself.
var errSelf = errors.New("the socket was connected to itself")

func connectOnce(ctx context.Context, dialer *net.Dialer, addr netip.AddrPort) (*tcpStream, error) {
	spare := newSpare(dialer)
	defer spare.close()
	conn, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		if rescued := spare.rescue(err); rescued != nil {
			return rescued, nil
		}
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	if tcp.LocalAddr().String() == tcp.RemoteAddr().String() {
		tcp.Close()
		return nil, errSelf
	}
	tcp.SetNoDelay(true)
	return &tcpStream{TCPConn: tcp}, nil
}

func (s *tcpStream) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	if err == io.EOF && s.resetOnConnect != nil {
		err = s.resetOnConnect
	}
	return n, err
}

func (s *tcpStream) unsent() int {
	unsent := -1
	withDescriptor(s, func(fd uintptr) { unsent = unacknowledged(fd) })
	return unsent
}

func (s *tcpStream) isDead() bool {
	dead := true
	withDescriptor(s, func(fd uintptr) { dead = !isConnected(fd) })
	return dead
}

func (s *tcpStream) isAccepted() bool {
	if s.RemoteAddr() == nil { // it was reset before we looked
		return true
	}
	return isAccepted(addrPort(s.LocalAddr()), addrPort(s.RemoteAddr()))
}

func addrPort(addr net.Addr) netip.AddrPort { return addr.(*net.TCPAddr).AddrPort() }
