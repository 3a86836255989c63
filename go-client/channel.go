package ipcchannel

import (
	"cmp"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// EndReason says how a session ended.
type EndReason string

// The ends of a session. The first end that a read reaches is final.
const (
	EndNone      EndReason = ""          // no read has reached an end
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
	transport *transportType
	stream    stream
	from, to  string // the rendezvous, shown by String
	limit     uint32
	linger    time.Duration

	reading       turn
	decoder       decoder // used by the goroutine that has the turn to read
	firstByteSeen bool    // likewise; whether the peer has sent anything

	writing turn
	out     frame        // used by the goroutine that has the turn to write
	inWrite sync.Mutex   // held from a Write of the stream until its error is noted
	large   atomic.Int64 // length of the last message that may exceed the peer's limit

	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex
	session sessionState
	stopped error // io.EOF once reads are to end although the session goes on, see Main
	claimed bool  // whether there is a RequestChannel
}

func newChannel(transport *transportType, s stream, opts Options) *Channel {
	c := &Channel{
		transport: transport,
		stream:    s,
		limit:     opts.MaxMessageSize,
		linger:    opts.Linger,
		decoder:   decoder{limit: opts.MaxMessageSize},
	}
	c.reading = newTurn(func() { c.stream.SetReadDeadline(past) })
	c.writing = newTurn(func() { c.stream.SetWriteDeadline(past) })
	return c
}

// EndReason returns how the session ended, or EndNone if no read has reached an
// end yet and Close was not called.
func (c *Channel) EndReason() EndReason { return c.state().end }

// state returns a copy of the state of the session.
func (c *Channel) state() sessionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// readError returns what reads return since the session has ended, or since
// stopReading; nil before.
func (c *Channel) readError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cmp.Or(c.session.readErr, c.stopped)
}

// writeError returns why writes are refused, or nil.
func (c *Channel) writeError() error { return c.state().writeErr }

// isClosing reports whether Close has been called.
func (c *Channel) isClosing() bool { return c.state().isClosing() }

// stopReading makes reads return io.EOF from now on, unless the session has ended.
// Messages that were not read stay unread; writing goes on.
func (c *Channel) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = io.EOF
	c.reading.refuse()
}

// on notes an event, with the error that it makes reads or writes return, and
// wakes the goroutines that wait for what can no longer happen.
func (c *Channel) on(e event, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.on(e, err)
	if c.session.readErr != nil {
		c.reading.refuse()
	}
	if c.session.writeErr != nil {
		c.writing.refuse()
	}
}
