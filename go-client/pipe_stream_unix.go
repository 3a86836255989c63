//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pollFD is the struct pollfd of C, and its flags have the same values on every
// system that this file is built for.
type pollFD struct {
	fd              int32
	events, revents int16
}

const (
	pollIn  = 0x01
	pollErr = 0x08
	pollHup = 0x10
)

// pipeStream is a stream over two named pipes. Both descriptors are
// non-blocking and known to the runtime's poller.
type pipeStream struct {
	in, out       *os.File // out is nil if the peer had left when we came
	inRaw, outRaw syscall.RawConn

	// The constant recheck and the function readFD; tests replace them.
	recheck time.Duration
	read    func(fd int, p []byte) (int, error)

	readOnce func(fd uintptr) bool // the method tryRead, bound once
	dst      []byte                // the arguments and results of tryRead
	n        int
	err      error

	initialData   []byte      // input that was read while connecting
	firstByteSeen bool        // whether a byte has arrived
	watching      sync.Once   // starts watchPeer
	peerGone      atomic.Bool // whether the peer has closed its end of out
	closed        atomic.Bool
}

// newPipeStream takes over the descriptors; out is -1 if there is none. initialData
// is the input that was read while connecting.
func newPipeStream(in int, inPath string, out int, outPath string, initialData []byte) (*pipeStream, error) {
	s := &pipeStream{in: os.NewFile(uintptr(in), inPath), initialData: initialData, recheck: recheck, read: readFD}
	s.readOnce = s.tryRead
	if out >= 0 {
		s.out = os.NewFile(uintptr(out), outPath)
	}
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *pipeStream) prepare() (err error) {
	if s.inRaw, err = s.in.SyscallConn(); err != nil {
		return err
	}
	if err = s.SetReadDeadline(time.Time{}); err != nil {
		return err // the poller did not take the descriptor
	}
	if s.out == nil {
		s.peerGone.Store(true)
		return nil
	}
	if s.outRaw, err = s.out.SyscallConn(); err != nil {
		return err
	}
	return s.SetWriteDeadline(time.Time{})
}

// Read does not use os.File.Read, which reports io.EOF for a pipe that no process has
// opened for writing yet.
func (s *pipeStream) Read(p []byte) (int, error) {
	if len(s.initialData) > 0 {
		n := copy(p, s.initialData)
		s.initialData = s.initialData[n:]
		s.noteFirstByte()
		return n, nil
	}
	s.dst = p
	err := s.inRaw.Read(s.readOnce)
	s.dst = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

// tryRead returns false to wait until the poller reports a change. A change
// that comes while it runs is reported too, so none is missed.
func (s *pipeStream) tryRead(fd uintptr) bool {
	s.n, s.err = s.read(int(fd), s.dst)
	if s.n == 0 && s.err == nil && !s.firstByteSeen && s.sawPeerLeave() {
		// The peer may have come, written and left since the read.
		s.n, s.err = s.read(int(fd), s.dst)
	}
	switch {
	case s.n > 0:
		s.noteFirstByte()
		return true
	case s.err == syscall.EAGAIN:
		return false
	case s.err != nil:
		return true
	case s.firstByteSeen || s.peerGone.Load():
		s.err = io.EOF
		return true
	}
	// No process has the pipe open for writing: the peer is on its way, or a stray
	// opener has come and gone. Neither is the end of our session.
	s.watching.Do(func() { go s.watchPeer() })
	return false
}

// noteFirstByte notes that a byte has arrived. From then on an end of the stream is that
// of the peer, not of a stray opener.
func (s *pipeStream) noteFirstByte() {
	if !s.firstByteSeen {
		s.firstByteSeen = true
		if s.out != nil {
			s.out.SetReadDeadline(past) // ends watchPeer
		}
	}
}

// sawPeerLeave reports whether the peer, whose end of out was open when we
// connected, has closed it.
func (s *pipeStream) sawPeerLeave() bool {
	if s.peerGone.Load() {
		return true
	}
	gone := false
	err := s.outRaw.Control(func(fd uintptr) { gone = readersGone(int(fd)) })
	if err == nil && gone {
		s.peerGone.Store(true)
	}
	return err == nil && gone
}

// watchPeer wakes the reader when the peer leaves without having sent a byte.
// The poller reports the loss of the other end to readers and writers of a descriptor
// alike, so watchPeer waits as a reader of out and gets in no writer's way.
func (s *pipeStream) watchPeer() {
	gone := func(fd uintptr) bool { return readersGone(int(fd)) }
	for {
		err := s.outRaw.Read(gone) // an error of the poller is a reason to look, too
		if s.sawPeerLeave() {
			s.in.SetReadDeadline(past)
			return
		}
		if s.closed.Load() || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		// The poller has reported an error that no longer holds, because a stray opener
		// reads out by now. It reports no further one, so look from time to time.
		time.Sleep(longestLook)
	}
}

// longestLook is the pause between two looks at what the poller does not report.
const longestLook = 100 * time.Millisecond

func (s *pipeStream) Write(p []byte) (int, error) {
	if s.out == nil {
		return 0, syscall.EPIPE
	}
	return s.out.Write(p)
}

func (s *pipeStream) SetReadDeadline(t time.Time) error {
	return s.in.SetReadDeadline(s.recheckAt(t))
}

func (s *pipeStream) SetWriteDeadline(t time.Time) error {
	if s.out == nil {
		return nil
	}
	return s.out.SetWriteDeadline(s.recheckAt(t))
}

// recheckAt returns the deadline t, or the time of the next recheck if that is earlier.
func (s *pipeStream) recheckAt(t time.Time) time.Time {
	if s.recheck == 0 {
		return t
	}
	if next := time.Now().Add(s.recheck); t.IsZero() || t.After(next) {
		return next
	}
	return t
}

// CloseWrite does nothing: once a pipe has the output, the peer can read it
// even after both ends were closed here.
func (s *pipeStream) CloseWrite() error { return nil }

func (s *pipeStream) unsent() int { return 0 }

func (s *pipeStream) isDead() bool { return false }

func (s *pipeStream) isAccepted() bool { return true }

func (s *pipeStream) Close() error {
	s.closed.Store(true)
	if s.out != nil {
		s.out.Close()
	}
	return s.in.Close()
}

// readersGone reports whether no process has the pipe open for reading that fd writes
// to.
func readersGone(fd int) bool { return poll(fd, 0)&(pollErr|pollHup) != 0 }

// readFD is read(2); no result is negative.
func readFD(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
