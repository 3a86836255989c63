package ipcchannel

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// ReadMessage waits for the next message and returns it in memory of its own.
//
// At the end of the session it returns io.EOF if the peer sent a close frame or
// ended the stream between two messages, and otherwise an error that matches
// ErrTruncated, ErrReset, ErrTooLarge or ErrClosed; every later read returns the
// same. Messages that arrived whole before the end are returned first, except those
// that were still unread when Close was called at this end.
//
// If ctx ends first, ReadMessage returns the error of ctx at once and nothing
// is lost: the next read goes on where this read stopped, inside a message too.
func (c *Channel) ReadMessage(ctx context.Context) ([]byte, error) {
	return c.readMessage(ctx, nil)
}

// ReadMessageInto is ReadMessage with memory to use again: it returns the
// message in the memory of buf, whatever buf contains, if the capacity of buf
// suffices, and in new memory otherwise. With an error it returns buf, empty,
// so that it can always be called as
//
//	buf, err = channel.ReadMessageInto(ctx, buf)
//
// With a large enough buf it allocates nothing, as long as successive calls
// have the same context or a context that cannot end.
func (c *Channel) ReadMessageInto(ctx context.Context, buf []byte) ([]byte, error) {
	message, err := c.readMessage(ctx, buf)
	if err != nil {
		return buf[:0], err
	}
	return message, nil
}

// Messages returns an iterator over the messages until the end, for use with
// range from Go 1.23 on. It stops without an error where ReadMessage returns
// io.EOF. Any other error, that of ctx included, is yielded once, with a nil
// message, as the last item. Leaving the loop loses nothing.
func (c *Channel) Messages(ctx context.Context) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		for {
			message, err := c.ReadMessage(ctx)
			if err == io.EOF || !yield(message, err) || err != nil {
				return
			}
		}
	}
}

func (c *Channel) readMessage(ctx context.Context, dst []byte) ([]byte, error) {
	if c.stream == nil {
		return nil, ErrNotConnected
	}
	if err := c.reading.take(ctx, c.readError); err != nil {
		return nil, err
	}
	defer c.reading.give()
	for {
		if err := c.readError(); err != nil {
			return nil, err
		}
		message, err := c.decoder.next(dst)
		switch {
		case err == nil:
			return message, nil
		case err == errCloseFrame:
			return nil, c.end(eventCloseFrame, io.EOF)
		case err != errIncomplete:
			return nil, c.end(eventOverLimit, err)
		}
		if err := c.fill(ctx); err != nil {
			return nil, err
		}
	}
}

// fill waits for input and gives it to the decoder.
func (c *Channel) fill(ctx context.Context) error {
	c.reading.follow(ctx)
	for {
		if err := cmp.Or(ctx.Err(), c.readError()); err != nil {
			c.decoder.keep()
			return err
		}
		n, err := c.stream.Read(c.decoder.space())
		if n > 0 {
			c.decoder.filled(n)
			c.firstByteSeen = true
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c.endOfInput(err)
		}
		c.stream.SetReadDeadline(time.Time{})
	}
}

// endOfInput ends the session for an error of the stream's Read.
func (c *Channel) endOfInput(err error) error {
	if !errors.Is(err, io.EOF) {
		return c.end(eventResetOnRead, wrapError(CodeReset, err, "connection lost%s", c.unread()))
	}
	if c.stream.isDead() {
		// The kernel reports a reset only once, and may be reporting it to a Write that
		// is just returning. Let that Write note it first.
		c.inWrite.Lock()
		defer c.inWrite.Unlock()
	}
	if err := c.decoder.endStream(); err != nil {
		return c.end(eventEndInsideFrame, err)
	}
	return c.end(eventEndAtBoundary, io.EOF)
}

// end notes an event that ends reading, and returns what reads return from now on: the
// error of the first end.
func (c *Channel) end(e event, err error) error {
	c.on(e, err)
	return c.readError()
}
