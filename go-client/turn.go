package ipcchannel

import "context"

// turn lets one goroutine at a time read, or write. It is a channel, since a
// goroutine that waits for a mutex cannot stop waiting when its context ends.
type turn struct {
	slot chan struct{} // one-slot semaphore: the goroutine that fills it has the turn
	over chan struct{} // closed once the session refuses every further call
	interrupter
}

func newTurn(interrupt func()) turn {
	return turn{
		slot:        make(chan struct{}, 1),
		over:        make(chan struct{}),
		interrupter: interrupter{interrupt: interrupt},
	}
}

// take waits for the turn. If meanwhile the session begins to refuse every call, it
// returns the error that refusal returns. Without an error the caller must give the turn
// back.
func (t *turn) take(ctx context.Context, refusal func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.over:
		return refusal()
	}
}

func (t *turn) give() { <-t.slot }

// refuse ends the waits of all goroutines: for the turn, and for the stream.
// It must not be called twice at the same time.
func (t *turn) refuse() {
	if !isClosed(t.over) {
		close(t.over)
	}
	t.interrupt()
}

// retire waits for the turn and never gives it back.
func (t *turn) retire() {
	t.slot <- struct{}{}
	t.forget()
}

// interrupter ends a Read or Write under way when a context ends. It keeps
// following the context that was used last, since most callers use the same one
// over and over, and a new registration would allocate for each message.
//
// It may interrupt when no call is under way. That is harmless: a deadline in the
// past only makes the next call look for a reason, see stream.
type interrupter struct {
	interrupt func()
	done      <-chan struct{}
	stop      func() bool
}

// follow interrupts when ctx ends. If ctx had ended before this call, the interrupt may
// already have passed, so the caller looks at the context afterwards.
func (i *interrupter) follow(ctx context.Context) {
	done := ctx.Done()
	if done == i.done {
		return
	}
	i.forget()
	if done != nil {
		i.done, i.stop = done, context.AfterFunc(ctx, i.interrupt)
	}
}

func (i *interrupter) forget() {
	if i.stop != nil {
		i.stop()
	}
	i.done, i.stop = nil, nil
}
