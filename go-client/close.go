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
// frame, waits up to [Options.Linger] for the peer to take it, and frees every
// descriptor. Reads and writes under way return ErrClosed; input that is unread
// is discarded.
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
	c.end(EndLocal, ErrClosed)
	c.lingerUntil = time.Now().Add(c.linger)
	close(c.closing)
	c.readAlarm.ring()
	c.writeAlarm.ring()

	// Neither turn is ever given back.
	c.reading <- struct{}{}
	c.readAlarm.clear()
	drained := make(chan struct{})
	outputEnded := make(chan struct{})
	go func() {
		defer close(drained)
		c.drain(outputEnded)
	}()
	c.writing <- struct{}{}
	c.writeAlarm.clear()
	err := c.sendClose()
	if err == nil && c.stream.mustDrain() {
		close(outputEnded)
		<-drained
	}
	c.stream.Close()
	<-drained
	if errors.Is(err, ErrTimeout) {
		return err
	}
	return nil
}

// sendClose sends the close frame and ends the output.
func (c *Channel) sendClose() error {
	c.mu.Lock()
	err := c.sendErr
	c.mu.Unlock()
	if err != nil && !errors.Is(err, ErrTooLarge) {
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
func (c *Channel) drain(outputEnded <-chan struct{}) {
	scrap := make([]byte, readAhead)
	quietUntil := time.Now().Add(quiet)
	for now := time.Now(); now.Before(c.lingerUntil); now = time.Now() {
		if !now.Before(quietUntil) {
			if isClosed(outputEnded) && c.stream.outputTaken() {
				return
			}
			quietUntil = now.Add(quiet)
		}
		c.stream.SetReadDeadline(earlier(quietUntil, c.lingerUntil))
		n, err := c.stream.Read(scrap)
		if n > 0 {
			quietUntil = time.Now().Add(quiet)
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
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
