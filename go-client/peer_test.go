//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"encoding/binary"
	"io"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// peer is the other end of a channel. It is made of plain system calls, so that
// the package is not tested against itself. Its descriptors block.
type peer struct {
	t    testing.TB
	r, w int // equal for a socket, -1 once closed
}

func (p *peer) isSocket() bool { return p.r == p.w }

func (p *peer) write(data []byte) error {
	for len(data) > 0 {
		n, err := syscall.Write(p.w, data)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (p *peer) mustWrite(data ...[]byte) {
	p.t.Helper()
	if err := p.write(bytes.Join(data, nil)); err != nil {
		p.t.Fatalf("peer writes: %v", err)
	}
}

// Read makes the peer an io.Reader.
func (p *peer) Read(b []byte) (int, error) {
	n, err := readFD(p.r, b)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// readFrame returns the payload of the next frame, empty for a close frame.
func mustReadSome(t *testing.T, p *peer) {
	t.Helper()
	_, err := io.ReadFull(p, make([]byte, 1000))
	must(t, err)
}

func (p *peer) readFrame() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(p, header[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.BigEndian.Uint32(header[:]))
	_, err := io.ReadFull(p, payload)
	return payload, err
}

func (p *peer) mustReadFrame() []byte {
	p.t.Helper()
	payload, err := p.readFrame()
	if err != nil {
		p.t.Fatalf("peer reads: %v", err)
	}
	return payload
}

// mustEnd reads the close frame and the end of the stream.
func (p *peer) mustEnd() {
	p.t.Helper()
	rest, err := io.ReadAll(p)
	if err != nil || !bytes.Equal(rest, make([]byte, 4)) {
		p.t.Fatalf("peer reads %x, %v at the end, not a close frame", rest[:min(len(rest), 32)], err)
	}
}

// closeWrite ends the peer's output and keeps its input.
func (p *peer) closeWrite() {
	if p.isSocket() {
		syscall.Shutdown(p.w, syscall.SHUT_WR)
		return
	}
	syscall.Close(p.w)
	p.w = -1
}

// closeRead ends the peer's input and keeps its output (pipes only).
func (p *peer) closeRead() {
	syscall.Close(p.r)
	p.r = -1
}

func (p *peer) close() {
	if p.w >= 0 && p.w != p.r {
		syscall.Close(p.w)
	}
	if p.r >= 0 {
		syscall.Close(p.r)
	}
	p.r, p.w = -1, -1
}

// reset makes the next close reset the connection, and closes (TCP only).
func (p *peer) reset() {
	syscall.SetsockoptLinger(p.r, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	p.close()
}

// makePipes makes the pipes of a rendezvous, as the client names them.
func makePipes(t testing.TB) (in, out string) {
	t.Helper()
	dir := t.TempDir()
	in, out = filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, path := range []string{in, out} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return in, out
}

func mustOpen(t testing.TB, path string, flags int) int {
	t.Helper()
	fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	return fd
}

// listener is a listening socket.
type listener struct {
	t    testing.TB
	fd   int
	port string
}

func listen(t testing.TB, backlog int) *listener {
	t.Helper()
	fd := bound(t)
	must(t, syscall.Listen(fd, backlog))
	l := &listener{t: t, fd: fd, port: localPort(t, fd)}
	t.Cleanup(func() {
		if l.fd >= 0 {
			syscall.Close(l.fd)
		}
	})
	return l
}

// bound returns a socket that holds a port and does not listen.
func bound(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(t, err)
	syscall.CloseOnExec(fd)
	// A small window makes a writer wait soon.
	must(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10))
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return fd
}

func localPort(t testing.TB, fd int) string {
	name, err := syscall.Getsockname(fd)
	must(t, err)
	return strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
}

func (l *listener) accept() *peer {
	l.t.Helper()
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, _, err = syscall.Accept(l.fd)
		return err
	})
	must(l.t, err)
	syscall.CloseOnExec(fd)
	p := &peer{t: l.t, r: fd, w: fd}
	l.t.Cleanup(func() { p.close() })
	return p
}
