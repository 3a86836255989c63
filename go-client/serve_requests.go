package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// server is a Serve that runs.
type server struct {
	handler  Handler
	ctx      context.Context
	cancel   context.CancelFunc
	handlers sync.WaitGroup // the calls of the handler
	answers  sync.WaitGroup // the same, until their answers are sent

	// A goroutine that has sent its answer waits for another request, unless one does: its
	// stack has grown to the size that a handler and a write need. The mutex guards isIdle.
	isIdle bool
	next   chan *servedRequest
}

// servedRequest is a request of the peer.
type servedRequest struct {
	id      uint32
	payload []byte
	ctx     context.Context    // of the handler
	cancel  context.CancelFunc // nil until the handler is called
}

// accept takes a request of the peer.
func (r *RequestChannel) accept(id uint32, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.unanswered[id]; known {
		return badMessage("it is request %d, which is not answered yet", id)
	}
	switch {
	case r.server == nil && !r.serveExpected:
		r.refuse(id, CodeUnserved, "the end that got this request does not serve: it only calls, or has stopped", nil)
	case len(r.unanswered) >= r.maxOpen:
		r.refuse(id, CodeBusy, fmt.Sprintf("%d requests are not answered yet, which is the limit of this end", r.maxOpen), nil)
	default:
		request := &servedRequest{id: id, payload: payload}
		r.unanswered[id] = request
		r.queue = append(r.queue, request)
		r.startHandlers()
	}
	return nil
}

// cancelServed ends the handler of a request, or takes the request out of the queue.
func (r *RequestChannel) cancelServed(id uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	request := r.unanswered[id]
	switch {
	case request == nil: // it is answered, or about to be
	case request.cancel != nil:
		request.cancel()
	default:
		r.queue = slices.DeleteFunc(r.queue, func(other *servedRequest) bool { return other == request })
		r.refuse(id, CodeCancelled, "the request was cancelled before its turn", nil)
	}
}

// refuse answers a request with an error, and then calls sent unless that is nil. The caller
// holds r.mu.
func (r *RequestChannel) refuse(id uint32, code Code, text string, sent func()) {
	r.unanswered[id] = nil
	r.later(func() {
		r.respond(id, errorMessage(id, &RequestError{code, text}, r.channel.limit), nil)
		if sent != nil {
			sent()
		}
	})
}

// startHandlers calls the handler for requests whose turn it is, unless Serve is about to
// end. The caller holds r.mu.
func (r *RequestChannel) startHandlers() {
	s := r.server
	if s == nil || s.ctx.Err() != nil {
		return
	}
	for r.running < r.concurrency && len(r.queue) > 0 {
		request := r.queue[0]
		r.queue = slices.Delete(r.queue, 0, 1)
		r.running++
		s.handlers.Add(1)
		s.answers.Add(1)
		request.ctx, request.cancel = context.WithCancel(s.ctx)
		if s.isIdle {
			s.isIdle = false
			s.next <- request
		} else {
			go r.work(s, request)
		}
	}
}

// work serves a request, and others after it.
func (r *RequestChannel) work(s *server, request *servedRequest) {
	r.serve(s, request)
	r.workOn(s)
}

// workOn serves requests until another goroutine waits for the next one, or Serve ends.
func (r *RequestChannel) workOn(s *server) {
	for r.becomeIdle(s) {
		request, isMore := <-s.next
		if !isMore {
			return
		}
		r.serve(s, request)
	}
}

// becomeIdle notes that a request has been served, and reports whether its goroutine is to
// wait for the next one.
func (r *RequestChannel) becomeIdle(s *server) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	waits := !s.isIdle && r.server == s
	s.isIdle = s.isIdle || waits
	r.startHandlers()
	return waits
}

// serve handles a request and sends the answer.
func (r *RequestChannel) serve(s *server, request *servedRequest) {
	defer s.answers.Done()
	defer request.cancel()
	var payload []byte
	failure := errExited
	defer func() {
		r.answer(request.id, payload, failure)
		if failure == errExited {
			go r.workOn(s) // in place of this goroutine, which ends
		}
	}()
	payload, failure = s.handle(request)
}

// errExited is what a request is answered with if its handler calls runtime.Goexit, as
// FailNow of a test does.
var errExited = &RequestError{CodeFailed, "the handler has ended its goroutine"}

// handle calls the handler. A panic becomes an error, and so does that of a method of an
// error, such as Error of a nil pointer.
func (s *server) handle(request *servedRequest) (payload []byte, failure *RequestError) {
	defer s.handlers.Done()
	defer func() {
		if value := recover(); value != nil {
			failure = &RequestError{CodeFailed, fmt.Sprintf("panic: %v", value)}
		}
	}()
	payload, err := s.handler(request.ctx, request.payload)
	if err != nil {
		return nil, request.answerError(err)
	}
	return payload, nil
}

// answer sends the answer, or the error if there is one.
func (r *RequestChannel) answer(id uint32, payload []byte, failure *RequestError) {
	if most := int64(r.channel.limit) - requestHeaderSize; failure == nil && int64(len(payload)) > most {
		failure = &RequestError{CodeTooLarge, fmt.Sprintf(
			"the answer would have %d bytes, and %d is the limit: send it in parts, or raise MaxMessageSize at both ends", len(payload), most)}
	}
	if failure == nil {
		r.respond(id, requestHeader(kindAnswer, id), payload)
	} else {
		r.respond(id, errorMessage(id, failure, r.channel.limit), nil)
	}
}

// answerError returns what the peer is told of an error of the handler (REQ-9, REQ-13).
func (request *servedRequest) answerError(err error) *RequestError {
	var chosen *RequestError
	if errors.As(err, &chosen) {
		return chosen.sendable()
	}
	if over := request.ctx.Err(); over != nil && errors.Is(err, over) {
		return &RequestError{CodeCancelled, err.Error()}
	}
	return &RequestError{CodeFailed, err.Error()}
}

// respond sends an answer or an error, unless the session has ended (REQ-16). An error of the
// write is not looked at: the reader meets the end of the session.
func (r *RequestChannel) respond(id uint32, prefix, body []byte) {
	if r.channel.beginWrite(r.session) == nil {
		r.settle(id)
		r.channel.finishWrite(r.session, prefix, body)
	}
}

// settle notes that a request is answered. That is as late as can be, but before the peer can
// see the answer and use the id again.
func (r *RequestChannel) settle(id uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unanswered, id)
}
