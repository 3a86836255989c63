package ipcchannel

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// EndReason says how a session ended.
type EndReason string

// The ends of a session. The first one that is seen stays.
const (
	EndNone      EndReason = ""          // no end has been seen; only reads look
	EndClean     EndReason = "clean"     // the peer sent a close frame
	EndEOF       EndReason = "eof"       // the stream ended between two frames
	EndTruncated EndReason = "truncated" // the stream ended inside a frame
	EndReset     EndReason = "reset"     // the connection was reset
	EndTooLarge  EndReason = "too_large" // the peer announced a message over the limit
	EndLocal     EndReason = "local"     // Close was called at this end
)

// Channel is one session with the peer. It comes from [Dial] or [DialEnv] and
// must be closed. All methods may be called by any number of goroutines at the
// same time. Reads and writes of a zero Channel return ErrNotConnected.
type Channel struct {
	stream   stream
	from, to string // the rendezvous, for people to read
	limit    uint32
	linger   time.Duration

	// Who has put a token into reading may read, and owns decoder and
	// readAlarm; writing, out and writeAlarm likewise. Channels are used
	// because a goroutine that waits for a mutex cannot be called off.
	reading    chan struct{}
	decoder    decoder
	heard      bool // whether the peer has sent anything
	readAlarm  alarm
	writing    chan struct{}
	out        frame
	writeAlarm alarm
	inWrite    sync.Mutex   // held from a Write of the stream until its error is noted
	large      atomic.Int64 // length of the last message that may exceed the peer's limit

	closeOnce sync.Once
	closeErr  error
	closing   chan struct{} // closed when Close begins
	refused   chan struct{} // closed when the end of input makes writes fail

	mu       sync.Mutex
	reason   EndReason
	endErr   error // what reads return since the session has ended
	sendErr  error // why writes are refused
	outErr   error // why not even the close frame can be sent any more
	wasReset bool  // whether a write has seen the reset, which is shown once only
}

func newChannel(s stream, opts Options) *Channel {
	c := &Channel{
		stream:  s,
		limit:   opts.MaxMessageSize,
		linger:  opts.Linger,
		reading: make(chan struct{}, 1),
		writing: make(chan struct{}, 1),
		closing: make(chan struct{}),
		refused: make(chan struct{}),
		decoder: decoder{limit: opts.MaxMessageSize},
	}
	c.readAlarm.ring = func() { c.stream.SetReadDeadline(past) }
	c.writeAlarm.ring = func() { c.stream.SetWriteDeadline(past) }
	return c
}

// EndReason returns how the session ended, or EndNone if no end has been seen
// yet. An end of the peer's is seen when a read comes to it.
func (c *Channel) EndReason() EndReason {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// ended returns what reads return since the session has ended, or nil.
func (c *Channel) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endErr
}

// end ends the session, unless it has ended already, and returns what reads
// return from now on.
func (c *Channel) end(reason EndReason, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != EndNone {
		return c.endErr
	}
	if c.wasReset && reason != EndClean && reason != EndTooLarge && reason != EndLocal {
		reason, err = EndReset, newError(CodeReset, "connection reset by the peer%s", c.unread())
	}
	c.reason, c.endErr = reason, err
	if reason == EndReset || reason == EndTooLarge {
		if c.sendErr == nil {
			c.sendErr = err
		}
		close(c.refused)
		c.writeAlarm.ring()
	}
	if reason == EndReset {
		c.outErr = err
	}
	return err
}

// endOfInput ends the session for an error of the stream's Read.
func (c *Channel) endOfInput(err error) error {
	if !errors.Is(err, io.EOF) {
		return c.end(EndReset, wrapError(CodeReset, err, "connection lost%s", c.unread()))
	}
	if c.stream.isDead() {
		// A reset is told once only, and perhaps to a Write that returns just now.
		c.inWrite.Lock()
		defer c.inWrite.Unlock()
	}
	if err := c.decoder.finish(); err != nil {
		return c.end(EndTruncated, err)
	}
	return c.end(EndEOF, io.EOF)
}

// isClosing reports whether Close has been called.
func (c *Channel) isClosing() bool { return isClosed(c.closing) }

// takeTurn waits for the turn to read or to write, unless that is refused
// meanwhile. Without an error the caller gives the turn back by taking the token
// out.
func (c *Channel) takeTurn(ctx context.Context, turn chan struct{}, refused <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closing:
		return ErrClosed
	case <-refused:
		return c.cannotSend()
	}
}

// interruption returns why the goroutine that has the turn must stop waiting:
// its context has ended, or the channel is being closed.
func (c *Channel) interruption(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.isClosing() {
		return ErrClosed
	}
	return nil
}

// alarm interrupts a Read or Write under way when a context ends. It stays set
// for the context that was used last, since most callers use the same one over
// and over, and setting it anew would allocate for each message.
//
// It may ring for nobody. That is harmless: a deadline in the past only makes
// the next call look for a reason, see stream.
type alarm struct {
	ring func()
	done <-chan struct{}
	stop func() bool
}

// set makes the alarm ring when ctx ends. If ctx has ended before, the alarm
// may have rung already, so look at the context after this call.
func (a *alarm) set(ctx context.Context) {
	done := ctx.Done()
	if done == a.done {
		return
	}
	a.clear()
	if done != nil {
		a.done, a.stop = done, context.AfterFunc(ctx, a.ring)
	}
}

func (a *alarm) clear() {
	if a.stop != nil {
		a.stop()
	}
	a.done, a.stop = nil, nil
}
