package ipcchannel

import (
	"errors"
	"os"
	"time"
)

// quiet is how long a peer that has taken all output must stay silent before Close
// stops draining its input.
const quiet = 50 * time.Millisecond

// Close ends the session: it sends what was accepted for sending, then a close
// frame, waits for the peer to take it, and frees every descriptor. It gives up
// once the peer has taken nothing for [Options.Linger]. Reads and writes under way
// return ErrClosed, unless they have come to another end; input that is unread is
// discarded.
//
// Close may be called in any state, any number of times and by several
// goroutines; each call returns when the channel is closed. It returns nil if
// the output has been handed over, or if the peer was gone before. If the
// linger ended first it returns an error that matches ErrTimeout.
func (c *Channel) Close() error {
	if c.stream == nil {
		return nil
	}
	c.closeOnce.Do(func() { c.closeErr = c.shutDown() })
	return c.closeErr
}

func (c *Channel) shutDown() error {
	c.on(eventClose, ErrClosed)
	c.reading.retire()
	drained := make(chan error, 1)
	outputEnded := make(chan struct{})
	go func() { drained <- c.drain(outputEnded) }()
	c.writing.retire()
	err := c.sendClose()
	if err == nil && c.transport.drainsBeforeClose {
		close(outputEnded)
		err = <-drained
		c.stream.Close()
	} else {
		c.stream.Close()
		<-drained
	}
	if errors.Is(err, ErrTimeout) {
		c.on(eventLingerOver, err)
		return err
	}
	c.on(eventAllSent, ErrClosed)
	return nil
}

// sendClose sends the close frame and ends the output.
func (c *Channel) sendClose() error {
	if err := c.state().sendErr; err != nil {
		return err
	}
	c.out.load(nil, nil)
	if err := c.flush(); err != nil {
		return err
	}
	return c.stream.CloseWrite()
}

// drain reads and discards input while the rest of the output goes out, for two
// reasons. A peer that reads only after it has written everything would otherwise
// never take our output. And if a TCP socket is closed with unread input, the kernel
// sends a reset, at which the peer loses output that it has not read.
//
// Until outputEnded is closed, drain reads for as long as the stream is open. After
// that it stops at the first of three things: the peer has ended its direction; the
// peer has taken all output and is silent; the peer has taken no output for the
// linger. In the last case it returns a timeout if some output is left.
func (c *Channel) drain(outputEnded <-chan struct{}) error {
	scrap := make([]byte, readAhead)
	linger := lingerTimer{limit: c.linger}
	lastInput := time.Now()
	accepted := false
	for {
		now := time.Now()
		deadline := now.Add(quiet)
		if isClosed(outputEnded) {
			if !accepted && c.isAccepted() {
				// The server has yet to ask which user this is: stay for the whole silence
				// from here on, since it may have accepted after now was taken.
				accepted, lastInput = true, time.Now()
			}
			unsent := c.stream.unsent()
			isOver := linger.isOver(now, unsent)
			if isOver && (unsent > 0 || !accepted) {
				return c.tookNothing()
			}
			if isOver || unsent == 0 && now.Sub(lastInput) >= quiet && accepted {
				return nil
			}
			deadline = earlier(deadline, linger.until)
		}
		c.stream.SetReadDeadline(deadline)
		n, err := c.stream.Read(scrap)
		if n > 0 {
			lastInput, c.firstByteSeen = time.Now(), true
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
	}
}

// isAccepted reports whether the server has accepted the connection: it has sent a
// byte, or the stream can tell.
func (c *Channel) isAccepted() bool { return c.firstByteSeen || c.stream.isAccepted() }

func (c *Channel) tookNothing() error {
	return newError(CodeTimeout, "the peer took no output for %v: raise Linger if it needs longer", c.linger)
}

// lingerTimer measures how long the peer has taken no output. It starts again whenever
// the peer takes some.
type lingerTimer struct {
	limit time.Duration
	until time.Time // when it is over, unless more is taken
	left  int       // bytes that the peer had not taken at the last look
}

// isOver reports whether the linger is over; left is how many bytes the peer has not
// taken yet.
func (l *lingerTimer) isOver(now time.Time, left int) bool {
	if l.until.IsZero() || left != l.left {
		l.until, l.left = now.Add(l.limit), left
	}
	return !now.Before(l.until)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
