//go:build linux || darwin

package ipcchannel

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Covers REQ-7.
func TestBusy(t *testing.T) {
	c, p := openTCP(t, nil)
	running, over := make(chan bool, 2), make(chan bool, 2)
	serveIn(context.Background(), NewRequestChannel(c, WithMaxOpen(2)), untilCancelled(running, over))
	p.mustWrite(requestFrame(kindRequest, 1, ""), requestFrame(kindRequest, 2, ""), requestFrame(kindRequest, 3, ""))
	if m := p.mustReadRequest(kindError, 3); m.err.Code != CodeBusy {
		t.Errorf("the third request got %v", m.err)
	}
	p.mustWrite(requestFrame(kindCancel, 2, ""))
	p.mustReadRequest(kindError, 2)
	p.mustWrite(requestFrame(kindRequest, 4, ""))
	for range 3 {
		<-running
	}
	p.mustWrite(requestFrame(kindCancel, 4, ""))
	if m := p.mustReadRequest(kindError, 4); m.err.Code != CodeCancelled {
		t.Errorf("the fourth request got %v", m.err)
	}
}

// A caller that sends any number of requests, and reads no answer, has to wait at last.
//
// Covers REQ-7.
func TestFlood(t *testing.T) {
	checkLeaks(t)
	c, p := openPipes(t, nil) // which have the least room
	r := NewRequestChannel(c, WithMaxOpen(1))
	running, over := make(chan bool, 1), make(chan bool, 1)
	served := serveIn(context.Background(), r, untilCancelled(running, over))
	const count = 10 * mostBacklog
	sent := background(func() error {
		var wire []byte
		for id := range uint32(count) {
			wire = append(wire, requestFrame(kindRequest, id, "")...)
		}
		return p.write(wire)
	})
	unanswered := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.unanswered)
	}
	eventually(t, "the backlog is full", func() bool { return unanswered() > mostBacklog/2 })
	time.Sleep(20 * time.Millisecond) // nothing more is read
	if n := unanswered(); n > 3*mostBacklog {
		t.Errorf("%d requests wait for their errors", n)
	}
	for id := range uint32(count - 1) {
		if m := p.mustReadRequest(kindError, id+1); m.err.Code != CodeBusy {
			t.Fatalf("request %d got %v", id+1, m.err)
		}
	}
	must(t, wait(t, sent))
	must(t, c.Close())
	if err := wait(t, served); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// The peer reads none of the answers, which need more room than the system has, but its
// cancel is read.
//
// Covers REQ-11.
func TestServeReadsWhileAnswersWait(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		running, over := make(chan bool, 1), make(chan bool, 1)
		small := untilCancelled(running, over)
		served := serveIn(context.Background(), NewRequestChannel(c), func(ctx context.Context, payload []byte) ([]byte, error) {
			if len(payload) > 0 {
				return make([]byte, 8<<20), nil
			}
			return small(ctx, payload)
		})
		p.mustWrite(requestFrame(kindRequest, 1, "large"), requestFrame(kindRequest, 2, "large"))
		_, err := p.Read(make([]byte, 1)) // an answer is on its way
		must(t, err)
		p.mustWrite(requestFrame(kindRequest, 3, ""))
		<-running
		p.mustWrite(requestFrame(kindCancel, 3, ""))
		<-over
		p.close()
		if err := wait(t, served); err != nil && !errors.Is(err, ErrReset) {
			t.Errorf("Serve returned %v", err)
		}
		c.Close()
	})
}

// A caller may send as many requests as may be open, and then begin to read.
//
// Covers REQ-11.
func TestReadsWhileErrorsWait(t *testing.T) {
	c, p := openPipes(t, nil)
	const count = 3 * mostBacklog
	callIn(testContext(t), NewRequestChannel(c, WithMaxOpen(count)), nil)
	p.mustReadRequest(kindRequest, 1)
	var wire []byte
	for id := range uint32(count) {
		wire = append(wire, requestFrame(kindRequest, id, "more than the pipes have room for")...)
	}
	must(t, wait(t, background(func() error { return p.write(wire) })))
	for id := range uint32(count) {
		p.mustReadRequest(kindError, id)
	}
}
