package ipcchannel

import (
	"context"
	"errors"
	"io"
	"sync"
)

// DefaultMaxOpen is how many requests a caller may have open.
const DefaultMaxOpen = 1024

// mostBacklog is how many errors and cancels may wait to be sent before nothing more is read,
// or twice the limit of open requests, if that is more. Ends that keep to the limit do not get
// there (REQ-11). The errors for any other would take more and more memory, if it does not
// read them.
const mostBacklog = 4 << 10

// RequestChannel sends requests over a [Channel], and answers those of the peer. Both ends
// have to use this layer (spec/requests.md), and every message of the session then belongs
// to it: nothing else may read from or write to the Channel. All methods may be called by
// any number of goroutines at the same time.
//
// The first Call or Serve starts a goroutine that reads until the session ends. Close the
// Channel at the end, as without a RequestChannel, which itself owns nothing.
type RequestChannel struct {
	channel     *Channel
	misuse      error // what Call and Serve return at once; nil if the channel can be used
	maxOpen     int
	concurrency int // how many handlers run at the same time

	start sync.Once
	ended chan struct{} // closed once the reader has met the end of the session
	done  chan struct{} // closed once the reader has returned
	open  chan struct{} // a semaphore: holds an item for each open request of this end

	// What sends on behalf of no caller, or of one that no longer waits, has this context.
	// It ends with the session.
	session    context.Context
	endSession context.CancelFunc

	mu      sync.Mutex
	readErr error // what has ended the reader: the error of a read, or a bad message
	failure error // what a Call returns that waits for its answer then
	unsent  error // what a Call returns that has sent nothing by then
	lastID  uint32
	calls   map[uint32]chan<- response // the open requests of this end; nil: no caller waits
	backlog []func()                   // what waits to be sent by sendBacklog
	sending bool                       // whether sendBacklog runs

	serveExpected bool                      // whether requests wait for Serve
	server        *server                   // nil unless Serve runs
	running       int                       // how many handlers run, or send their answers
	queue         []*servedRequest          // the requests of the peer that wait for their turn
	unanswered    map[uint32]*servedRequest // the requests of the peer; nil: an error waits to be sent
}

// response is what a call comes to.
type response struct {
	payload []byte
	err     error
}

// RequestOption is an option of [NewRequestChannel] and of [Serve].
type RequestOption func(*RequestChannel)

// WithConcurrency makes at most n handlers run at the same time. Further requests wait for
// their turn, in the order of their arrival. By default, and if n is less than 1, a handler
// runs for each request that is not answered yet.
func WithConcurrency(n int) RequestOption {
	return func(r *RequestChannel) {
		if n > 0 {
			r.concurrency = n
		}
	}
}

// WithMaxOpen makes n the limit of open requests in each direction: Call waits while n
// requests of this end are open, and a request of the peer is answered with the error busy
// if n others are not answered yet. Both ends should have the same limit. By default, and if
// n is less than 1, it is DefaultMaxOpen (1,024).
func WithMaxOpen(n int) RequestOption {
	return func(r *RequestChannel) {
		if n > 0 {
			r.maxOpen = n
		}
	}
}

// WithServe says that Serve is going to be called: requests that arrive before that wait for
// it. Without this option, they are answered with the error unserved if a Call has already
// started reading.
func WithServe() RequestOption {
	return func(r *RequestChannel) { r.serveExpected = true }
}

// NewRequestChannel returns a RequestChannel over a channel. A session has only one: Call and
// Serve of a second one return an error. They return ErrNotConnected if the channel does not
// come from [Dial] or [DialEnv], and ErrBadOption if its Options.MaxMessageSize is less than 70.
func NewRequestChannel(channel *Channel, options ...RequestOption) *RequestChannel {
	r := &RequestChannel{
		channel:    channel,
		misuse:     channel.claim(),
		maxOpen:    DefaultMaxOpen,
		ended:      make(chan struct{}),
		done:       make(chan struct{}),
		calls:      map[uint32]chan<- response{},
		unanswered: map[uint32]*servedRequest{},
	}
	for _, option := range options {
		option(r)
	}
	if r.concurrency == 0 {
		r.concurrency = r.maxOpen
	}
	r.open = make(chan struct{}, r.maxOpen)
	r.session, r.endSession = context.WithCancel(context.Background())
	return r
}

// errClaimed is returned by what uses a second RequestChannel of a session.
var errClaimed = errors.New("ipcchannel: this session has a RequestChannel already: use that one, for calls and to serve")

// claim gives all messages of a channel to one RequestChannel, or returns why that cannot be.
func (c *Channel) claim() error {
	switch {
	case c == nil:
		return newError(CodeNotConnected, "the Channel is nil: it must come from Dial or DialEnv")
	case c.stream == nil:
		return ErrNotConnected
	case c.limit < leastRequestLimit:
		return newError(CodeBadOption, "requests need a MaxMessageSize of at least %d, not %d: raise it at both ends",
			leastRequestLimit, c.limit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed {
		return errClaimed
	}
	c.claimed = true
	return nil
}

// Close closes the Channel, see [Channel.Close]. Calls that wait return ErrClosed, and the
// contexts of handlers end. To finish first, wait for the answers and then close.
func (r *RequestChannel) Close() error {
	if r.channel == nil {
		return nil
	}
	return r.channel.Close()
}

func (r *RequestChannel) startReading() { r.start.Do(func() { go r.read() }) }

// read passes on every message until the session ends.
func (r *RequestChannel) read() {
	defer close(r.done)
	for {
		message, err := r.channel.ReadMessage(context.Background())
		if err != nil {
			r.end(err)
			return
		}
		if err := r.dispatch(message); err != nil {
			r.end(err)
			r.channel.Close()
			return
		}
		r.awaitBacklog()
	}
}

// dispatch returns an error if the message is not allowed. It does not wait for the peer
// (REQ-11).
func (r *RequestChannel) dispatch(message []byte) error {
	m, err := parseRequestMessage(message)
	if err != nil {
		return err
	}
	switch m.kind {
	case kindRequest:
		return r.accept(m.id, m.body)
	case kindCancel:
		r.cancelServed(m.id)
		return nil
	case kindError:
		return r.answered(m.id, response{err: m.err})
	default:
		return r.answered(m.id, response{payload: m.body})
	}
}

// end fails the calls that wait, and ends the handlers unless reads have merely been stopped.
func (r *RequestChannel) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readErr, r.failure, r.unsent = err, r.unansweredError(err), r.unsentError(err)
	for _, result := range r.calls {
		if result != nil {
			result <- response{err: r.failure}
		}
	}
	clear(r.calls)
	if !r.isStopped() {
		r.endSession()
		if r.server != nil {
			r.server.cancel()
		}
	}
	close(r.ended)
}

// isStopped reports whether reads have ended although the session goes on, see Main: what is
// being handled is still answered.
func (r *RequestChannel) isStopped() bool {
	return r.readErr == io.EOF && r.channel.EndReason() == EndNone
}

// later has a goroutine call send, after what was passed to later before.
// The caller holds r.mu.
func (r *RequestChannel) later(send func()) {
	r.backlog = append(r.backlog, send)
	if !r.sending {
		r.sending = true
		go r.sendBacklog()
	}
}

func (r *RequestChannel) sendBacklog() {
	for {
		r.mu.Lock()
		next := r.backlog
		r.backlog, r.sending = nil, len(next) > 0
		r.mu.Unlock()
		if len(next) == 0 {
			return
		}
		for _, send := range next {
			send()
		}
	}
}

// awaitBacklog waits while too much waits to be sent.
func (r *RequestChannel) awaitBacklog() {
	r.mu.Lock()
	if len(r.backlog) <= max(mostBacklog, 2*r.maxOpen) {
		r.mu.Unlock()
		return
	}
	sent := make(chan struct{})
	r.later(func() { close(sent) })
	r.mu.Unlock()
	<-sent
}
