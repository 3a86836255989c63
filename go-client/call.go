package ipcchannel

import (
	"cmp"
	"context"
)

// Call sends a request and returns the payload of its answer, in memory of its own. The
// payload of the request may be empty, and has at most Options.MaxMessageSize − 5 bytes;
// a larger one is refused with ErrMessageTooLarge. The caller may use its memory again once
// Call has returned. While DefaultMaxOpen requests are open (see [WithMaxOpen]), Call waits.
//
// If the peer answers with an error, Call returns it, a *[RequestError]. If the session ends
// first, the error matches ErrUnanswered, and wraps the error that ended the session if there
// is one; ErrClosed if this end was closed; or ErrBadMessage if the peer has sent a message
// that is not allowed, after which this end closes the channel. The peer may or may not have
// handled such a request, unless the text of the error says that it was not sent, as that of
// a Call does that begins after the end.
//
// If ctx ends first, Call tells the peer that the answer is no longer needed, and returns the
// error of ctx at once. The request counts as open until the peer has answered it.
func (r *RequestChannel) Call(ctx context.Context, payload []byte) ([]byte, error) {
	if r.misuse != nil {
		return nil, r.misuse
	}
	if limit := int64(r.channel.limit) - requestHeaderSize; int64(len(payload)) > limit {
		return nil, newError(CodeMessageTooLarge,
			"a request of %d bytes exceeds the limit of %d: raise MaxMessageSize at both ends, or send the data in parts",
			len(payload), limit)
	}
	if err := r.takeSlot(ctx); err != nil {
		return nil, err
	}
	r.startReading()
	id, result, err := r.register()
	if err != nil {
		return nil, err
	}
	if err := r.sendRequest(ctx, id, payload); err != nil {
		return nil, err
	}
	select {
	case got := <-result:
		return got.payload, got.err
	case <-ctx.Done():
		r.abandon(id)
		return nil, ctx.Err()
	}
}

// takeSlot waits until fewer than maxOpen requests are open.
func (r *RequestChannel) takeSlot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case r.open <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.unsent
	}
}

// register gives a request an id.
func (r *RequestChannel) register() (uint32, <-chan response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure != nil {
		return 0, nil, r.unsent
	}
	for {
		r.lastID++ // 0 follows the largest
		if _, used := r.calls[r.lastID]; !used {
			break
		}
	}
	result := make(chan response, 1)
	r.calls[r.lastID] = result
	return r.lastID, result, nil
}

// sendRequest returns an error if Call is to stop here.
func (r *RequestChannel) sendRequest(ctx context.Context, id uint32, payload []byte) error {
	err := r.channel.beginWrite(ctx)
	detached, begun := false, err == nil
	if begun {
		detached, err = r.channel.finishWrite(ctx, requestHeader(kindRequest, id), payload)
	}
	if err == nil {
		return nil
	}
	if detached && err == ctx.Err() {
		r.abandon(id) // the peer gets the request
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, isOpen := r.calls[id]; isOpen {
		delete(r.calls, id)
		<-r.open
	}
	if err == ctx.Err() {
		return err
	}
	// The reader knows more of what has happened.
	if begun {
		return cmp.Or(r.failure, r.unansweredError(err))
	}
	return cmp.Or(r.unsent, r.unsentError(err))
}

// abandon drops the answer when it comes, and lets the peer know (REQ-12).
func (r *RequestChannel) abandon(id uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[id] == nil {
		return // it is answered
	}
	r.calls[id] = nil
	r.later(func() {
		if r.channel.beginWrite(r.session) == nil {
			r.channel.finishWrite(r.session, requestHeader(kindCancel, id), nil)
		}
	})
}

// answered passes a response on to the call that waits for it.
func (r *RequestChannel) answered(id uint32, got response) error {
	r.mu.Lock()
	result, isOpen := r.calls[id]
	delete(r.calls, id)
	r.mu.Unlock()
	if !isOpen {
		return badMessage("it answers request %d, which is not open", id)
	}
	<-r.open
	if result != nil {
		result <- got
	}
	return nil
}
