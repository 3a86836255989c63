package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// WriteMessage sends a message of 1 byte to Options.MaxMessageSize bytes. It waits
// while the peer does not read, and returns when the operating system has taken the
// whole message. After that the caller may use its memory again.
//
// A message that is empty (ErrEmptyMessage) or over the limit
// (ErrMessageTooLarge) is refused: nothing is sent, and the channel stays
// usable. If the peer no longer reads, the error is ErrPeerGone or ErrReset;
// messages that have arrived can still be read. After Close it is ErrClosed.
//
// If ctx ends or the channel is closed while WriteMessage waits, it returns at once,
// and the message is sent whole or not at all. If none of it had been sent, it is not
// sent. Otherwise the rest is copied and sent in the background, before any other
// message; Close waits for it as for all output. The error does not say which of the
// two happened.
func (c *Channel) WriteMessage(ctx context.Context, message []byte) error {
	if c.stream == nil {
		return ErrNotConnected
	}
	if len(message) == 0 {
		return ErrEmptyMessage
	}
	if uint64(len(message)) > uint64(c.limit) {
		return newError(CodeMessageTooLarge,
			"message of %d bytes exceeds the limit of %d: raise MaxMessageSize at both ends, or send the data in parts",
			len(message), c.limit)
	}
	if err := c.beginWrite(ctx); err != nil {
		return err
	}
	_, err := c.finishWrite(ctx, nil, message)
	return err
}

// beginWrite waits for the turn to write. Without an error, finishWrite must follow.
func (c *Channel) beginWrite(ctx context.Context) error {
	if c.stream == nil {
		return ErrNotConnected
	}
	if err := c.writing.take(ctx, c.writeError); err != nil {
		return err
	}
	if err := c.writeError(); err != nil {
		c.writing.give()
		return err
	}
	return nil
}

// finishWrite sends prefix and body as one message, and gives the turn back. With an
// error of ctx, detached says whether the message is sent all the same, in the background.
func (c *Channel) finishWrite(ctx context.Context, prefix, body []byte) (detached bool, err error) {
	c.out.load(prefix, body)
	if c.out.size > headSize {
		c.large.Store(int64(c.out.size))
	}
	interrupted, err := c.send(ctx)
	if interrupted && c.out.begun {
		c.out.detach()
		go c.sendRest()
		return true, err
	}
	c.out.drop()
	c.writing.give()
	return false, err
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

// unread returns a hint for the error of a reset: which message the peer may not have
// read. A peer that exits because a message exceeds its limit leaves the message unread,
// and its kernel resets the connection. A peer that closes its channel instead reads and
// drops the rest, and this end sees only that the peer has gone.
func (c *Channel) unread() string {
	size := c.large.Load()
	if size == 0 {
		return ""
	}
	return fmt.Sprintf("; a message of %d bytes may not have been read: if the peer's limit is smaller, raise MaxMessageSize at both ends",
		size)
}

// lostWithin adds to a reset, which a reader has seen, that it interrupted this frame.
// If the frame is large, the error already names its message.
func (c *Channel) lostWithin(err error) error {
	if !c.out.begun || c.out.size > headSize || !errors.Is(err, ErrReset) {
		return err
	}
	return wrapError(CodeReset, err, "connection lost%s", c.out.within())
}

// write gives the stream the next part of the frame, and returns how many bytes the
// stream took. A deadline may have made it take less, which is no error; after an error
// nothing more can be sent.
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

// sendRest completes a frame after its writer has stopped waiting, and gives back the
// writer's turn.
func (c *Channel) sendRest() {
	c.flush()
	c.out.drop()
	c.writing.give()
}

// flush sends what is left of the frame. It fails if the stream does, or if the linger is
// over; then nothing more can be sent, because the frame is not whole.
func (c *Channel) flush() error {
	linger := lingerTimer{limit: c.linger}
	for len(c.out.next()) > 0 {
		// Clear the deadline before looking for Close: a Close in between then sets a
		// deadline that has passed, which interrupts the Write.
		c.stream.SetWriteDeadline(time.Time{})
		isLast := false
		if c.isClosing() {
			now := time.Now()
			isLast = linger.isOver(now, c.out.left()+c.stream.unsent())
			if isLast { // try once more: perhaps this process was suspended, not the peer
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
// touched. Any error but a reset leaves the input as it is, so the peer may go on sending.
func (c *Channel) sendFailed(err error) error {
	e, code, what := eventPeerGoneOnWrite, CodePeerGone, "the peer no longer reads"
	if isReset(err) {
		e, code, what = eventResetOnWrite, CodeReset, "connection lost"
	}
	hint := c.out.within()
	if hint == "" && (code == CodeReset || c.large.Load() > DefaultMaxMessageSize) {
		hint = c.unread()
	}
	failure := wrapError(code, err, "%s%s", what, hint)
	c.on(e, failure)
	if known := c.writeError(); known != failure { // writing had failed before
		return c.lostWithin(known)
	}
	return failure
}
