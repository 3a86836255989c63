package ipcchannel

import (
	"context"
	"errors"
	"io"
)

// Handler answers a request: it returns the payload of the answer, or an error. A
// *[RequestError], also one that the error wraps, reaches the caller with its code and text;
// of any other error the caller sees the code failed, and its text. A panic is treated in the
// same way, and is not printed: a program that wants to know recovers in its handler. A
// handler that ends its goroutine, as t.Fatal does, has failed as well.
//
// ctx ends when the caller no longer needs the answer, when the session ends, and when the
// context of Serve ends. The handler should then return, for instance ctx.Err(); if it
// returns an answer all the same, the answer is sent. The payload is in memory that belongs
// to the handler. What the handler returns must not change until its request is answered,
// which is after the handler has returned.
type Handler func(ctx context.Context, payload []byte) ([]byte, error)

// Serve answers the requests of the peer with handler until the session ends. It is
// [RequestChannel.Serve] for an end that only answers, with a RequestChannel of its own, and
// fits [Main]:
//
//	ipcchannel.Main(func(ctx context.Context, channel *ipcchannel.Channel) error {
//		return ipcchannel.Serve(ctx, channel, handler)
//	}, nil)
func Serve(ctx context.Context, channel *Channel, handler Handler, options ...RequestOption) error {
	return NewRequestChannel(channel, options...).Serve(ctx, handler)
}

// Serve answers the requests of the peer with handler until the session ends, each in a
// goroutine of its own (but see [WithConcurrency]). Any number of goroutines may Call
// meanwhile, handlers too. A request that arrives while Serve does not run is answered with
// the error unserved (but see [WithServe]).
//
// Serve returns when the last handler has returned: nil if the session ended with a close
// frame or between two messages; otherwise the error of the read that met the end, ErrClosed
// for instance, or ErrBadMessage if the peer has sent a message that is not allowed, after
// which this end closes the channel. If ctx ends first, Serve returns the error of ctx; the
// requests that it leaves are answered with the error cancelled. After a signal to a program
// that runs in [Main], Serve lets the handlers that run end by themselves, sends their
// answers, and returns nil.
func (r *RequestChannel) Serve(ctx context.Context, handler Handler) error {
	if r.misuse != nil {
		return r.misuse
	}
	if handler == nil {
		return errNoHandler
	}
	serveCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{handler: handler, ctx: serveCtx, cancel: cancel, next: make(chan *servedRequest, 1)}
	if err := r.attach(s); err != nil {
		return err
	}
	r.startReading()
	select {
	case <-r.ended:
	case <-ctx.Done():
		r.detach(s)
		s.handlers.Wait()
		return ctx.Err()
	}
	r.detach(s)
	s.answers.Wait()
	<-r.done
	if r.readErr == io.EOF {
		return nil
	}
	return r.readErr
}

// errServing is returned by the second of two Serves.
var errServing = errors.New("ipcchannel: Serve is running already: a RequestChannel has one handler at a time")

// errNoHandler is returned by a Serve without a handler.
var errNoHandler = errors.New("ipcchannel: the handler of Serve is nil: pass a function")

// attach makes s the server of the channel.
func (r *RequestChannel) attach(s *server) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		return errServing
	}
	r.server = s
	if r.failure != nil {
		s.cancel() // nothing that waits is handled any more
	}
	r.startHandlers()
	return nil
}

// detach takes s off the channel again, and answers what its handler was not called for.
func (r *RequestChannel) detach(s *server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server, r.serveExpected = nil, false
	close(s.next)
	for _, request := range r.queue {
		s.answers.Add(1)
		r.refuse(request.id, CodeCancelled, "this end stopped serving", s.answers.Done)
	}
	r.queue = nil
}
