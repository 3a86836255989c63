package ipcchannel

import (
	"errors"
	"os"
	"time"
)

// quiet is how long a peer that has everything must send nothing before Close
// stops reading what it sends.
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
	c.out.load(nil)
	if err := c.flush(); err != nil {
		return err
	}
	return c.stream.CloseWrite()
}

// drain discards input while the rest of the output goes out. A peer that reads
// only after it has written everything would otherwise never take our output,
// and input that is unread when a TCP socket is closed makes the system send a
// reset, at which the peer loses output that it has not read.
//
// Until outputEnded it goes on for as long as the stream is open, and then until
// the peer has ended, has everything and is quiet, or takes nothing any more. In
// the last case it returns a timeout if there is anything left to take.
func (c *Channel) drain(outputEnded <-chan struct{}) error {
	scrap := make([]byte, readAhead)
	linger := lingerTimer{limit: c.linger}
	lastInput := time.Now()
	for {
		now := time.Now()
		deadline := now.Add(quiet)
		if isClosed(outputEnded) {
			unsent := c.stream.unsent()
			isOver := linger.isOver(now, unsent)
			if isOver && (unsent > 0 || !c.isAccepted()) {
				return c.tookNothing()
			}
			if isOver || unsent == 0 && now.Sub(lastInput) >= quiet && c.isAccepted() {
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

// isAccepted reports whether the server has accepted the connection, which it
// need not tell.
func (c *Channel) isAccepted() bool { return c.firstByteSeen || c.stream.isAccepted() }

func (c *Channel) tookNothing() error {
	return newError(CodeTimeout, "the peer took no output for %v: raise Linger if it needs longer", c.linger)
}

// lingerTimer measures for how long the peer has taken no output. It starts again
// whenever the peer has taken some.
type lingerTimer struct {
	limit time.Duration
	until time.Time // when it is over, unless more is taken
	left  int       // what had not been taken when last looked at
}

// isOver reports whether the linger is over, if left has not been taken yet.
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
