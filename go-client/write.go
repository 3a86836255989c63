package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// WriteMessage sends a message of 1 byte to Options.MaxMessageSize bytes. It
// waits while the peer does not read, and returns when the operating system has
// taken the whole message; it does not keep it.
//
// A message that is empty (ErrEmptyMessage) or over the limit
// (ErrMessageTooLarge) is refused: nothing is sent, and the channel stays
// usable. If the peer no longer reads, the error is ErrPeerGone or ErrReset;
// messages that have arrived can still be read. After Close it is ErrClosed.
//
// If ctx ends or the channel is closed while WriteMessage waits, it returns at
// once, and the message is sent whole or not at all: not if none of it has been
// sent yet; otherwise the rest is copied and sent in the background, before any
// other message. Close waits for that as for all output. The error does not
// tell which of the two it was.
func (c *Channel) WriteMessage(ctx context.Context, message []byte) error {
	if c.stream == nil {
		return ErrNotConnected
	}
	if len(message) == 0 {
		return ErrEmptyMessage
	}
	if uint64(len(message)) > uint64(c.limit) {
		return newError(CodeMessageTooLarge,
			"message of %d bytes exceeds the limit of %d: set MaxMessageSize at both ends, or send it in parts",
			len(message), c.limit)
	}
	if err := c.writing.take(ctx, c.writeError); err != nil {
		return err
	}
	if err := c.writeError(); err != nil {
		c.writing.give()
		return err
	}
	c.out.load(message)
	if len(message) > headSize {
		c.large.Store(int64(len(message)))
	}
	interrupted, err := c.send(ctx)
	if interrupted && c.out.begun {
		c.out.detach()
		go c.sendRest()
		return err
	}
	c.out.drop()
	c.writing.give()
	return err
}

// send sends what is left of the frame, unless it is interrupted.
func (c *Channel) send(ctx context.Context) (interrupted bool, err error) {
	c.writing.follow(ctx)
	for {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		if err := c.writeError(); err != nil {
			return true, c.lostWithin(err)
		}
		if _, err := c.write(); err != nil {
			return false, err
		}
		if len(c.out.next()) == 0 {
			return false, nil
		}
		c.stream.SetWriteDeadline(time.Time{})
	}
}

// unread says, for the text of a reset, which message the peer may not have read.
// A peer resets a connection from which it has not read everything, as one does that
// exits when a message exceeds its limit. One that closes instead reads and drops the
// rest: of that nothing is seen here but that the peer has gone.
func (c *Channel) unread() string {
	size := c.large.Load()
	if size == 0 {
		return ""
	}
	return fmt.Sprintf("; a message of %d bytes may not have been read: if the peer's limit is smaller, set MaxMessageSize at both ends",
		size)
}

// lostWithin adds to the reset that a reader has seen what it interrupted here,
// unless that tells of it already.
func (c *Channel) lostWithin(err error) error {
	if !c.out.begun || c.out.size > headSize || !errors.Is(err, ErrReset) {
		return err
	}
	return wrapError(CodeReset, err, "connection lost%s", c.out.within())
}

// write gives the stream what is left of the frame, and returns how much it took.
// That may be less because of a deadline, which is no error; after one nothing
// more can be sent.
func (c *Channel) write() (int, error) {
	c.inWrite.Lock()
	defer c.inWrite.Unlock()
	n, err := c.stream.Write(c.out.next())
	c.out.sent(n)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, nil
	}
	return n, c.sendFailed(err)
}

// sendRest completes a frame whose writer no longer waits, and gives the
// writer's turn back.
func (c *Channel) sendRest() {
	c.flush()
	c.out.drop()
	c.writing.give()
}

// flush sends what is left of the frame. Only the end of the linger stops it,
// and then nothing more can be sent, because the frame is not whole.
func (c *Channel) flush() error {
	linger := lingerTimer{limit: c.linger}
	for len(c.out.next()) > 0 {
		// In this order: if Close comes in between, it interrupts the Write after
		// this deadline is set.
		c.stream.SetWriteDeadline(time.Time{})
		isLast := false
		if c.isClosing() {
			now := time.Now()
			isLast = linger.isOver(now, c.out.left()+c.stream.unsent())
			if isLast { // one more try: it may be this process that stood still
				c.stream.SetWriteDeadline(now.Add(leastLinger))
			} else {
				c.stream.SetWriteDeadline(earlier(now.Add(quiet), linger.until))
			}
		}
		n, err := c.write()
		if err != nil {
			return err
		}
		if isLast && n == 0 {
			err := c.tookNothing()
			c.on(eventLingerOver, err)
			return err
		}
	}
	return nil
}

// sendFailed notes an error of the stream's Write, after which nothing more can
// be sent, and returns what the write returns. Input that has arrived is not
// touched.
func (c *Channel) sendFailed(err error) error {
	e, code, what := eventResetOnWrite, CodeReset, "connection lost"
	if isPeerGone(err) {
		e, code, what = eventPeerGoneOnWrite, CodePeerGone, "the peer no longer reads"
	}
	hint := c.out.within()
	if hint == "" && (code == CodeReset || c.large.Load() > DefaultMaxMessageSize) {
		hint = c.unread()
	}
	failure := wrapError(code, err, "%s%s", what, hint)
	c.on(e, failure)
	if known := c.writeError(); known != failure { // which came first
		return c.lostWithin(known)
	}
	return failure
}
