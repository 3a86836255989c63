//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

// message returns a message of the layer.
func requestFrame(kind byte, id uint32, body string) []byte {
	return frameOf(append(requestHeader(kind, id), body...))
}

// mustReadRequest reads the next message that the channel sends.
func (p *peer) mustReadRequest(kind byte, id uint32) requestMessage {
	p.t.Helper()
	m, err := parseRequestMessage(p.mustReadFrame())
	if err != nil || m.kind != kind || m.id != id {
		p.t.Fatalf("the channel sent %+v, %v", m, err)
	}
	return m
}

// callIn calls in the background.
func callIn(ctx context.Context, r *RequestChannel, payload []byte) <-chan error {
	return background(func() error {
		_, err := r.Call(ctx, payload)
		return err
	})
}

// Covers REQ-5.
func TestIdsWrapAndSkipOpenOnes(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c)
	r.lastID = math.MaxUint32 - 2
	var results []<-chan error
	for _, id := range []uint32{math.MaxUint32 - 1, math.MaxUint32, 0} {
		results = append(results, callIn(testContext(t), r, nil))
		p.mustReadRequest(kindRequest, id)
	}
	r.mu.Lock()
	r.lastID = math.MaxUint32 - 1
	r.mu.Unlock()
	results = append(results, callIn(testContext(t), r, nil))
	p.mustReadRequest(kindRequest, 1)
	for _, id := range []uint32{1, 0, math.MaxUint32, math.MaxUint32 - 1} {
		p.mustWrite(requestFrame(kindAnswer, id, ""))
	}
	for _, result := range results {
		must(t, wait(t, result))
	}
}

// Covers REQ-2.
func TestLargestRequest(t *testing.T) {
	c, p := openUnix(t, &Options{MaxMessageSize: 100_000})
	r := NewRequestChannel(c)
	_, err := r.Call(testContext(t), make([]byte, 100_000-4))
	if !errors.Is(err, ErrMessageTooLarge) || !strings.Contains(err.Error(), "a request of 99996 bytes exceeds the limit of 99995") {
		t.Errorf("a request that is too large: %v", err)
	}
	payload := pattern(100_000-5, 1)
	result := callIn(testContext(t), r, payload)
	if m := p.mustReadRequest(kindRequest, 1); !bytes.Equal(m.body, payload) {
		t.Errorf("the peer got %s", brief(m.body))
	}
	p.mustWrite(requestFrame(kindAnswer, 1, ""))
	must(t, wait(t, result))
}

// Covers REQ-7, REQ-12.
func TestCallWaitsWhileTooManyAreOpen(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c, WithMaxOpen(2))
	ctx, cancel := context.WithCancel(testContext(t))
	first, second := callIn(ctx, r, []byte("x")), callIn(ctx, r, []byte("x"))
	p.mustReadRequest(kindRequest, 1)
	p.mustReadRequest(kindRequest, 2)
	brief, cancelBrief := context.WithTimeout(testContext(t), 10*time.Millisecond)
	defer cancelBrief()
	if _, err := r.Call(brief, nil); err != context.DeadlineExceeded {
		t.Errorf("a third call returned %v", err)
	}
	cancel() // of two cancels, which the goroutines send in any order
	for _, result := range []<-chan error{first, second} {
		if err := wait(t, result); err != context.Canceled {
			t.Errorf("a cancelled call returned %v", err)
		}
	}
	third := callIn(testContext(t), r, []byte("y"))
	for range 2 {
		if message := p.mustReadFrame(); message[0] != kindCancel {
			t.Fatalf("the channel sent %x while two requests were open", message)
		}
	}
	p.mustWrite(requestFrame(kindAnswer, 2, "late"))
	p.mustReadRequest(kindRequest, 3)
	p.mustWrite(requestFrame(kindAnswer, 3, ""))
	must(t, wait(t, third))
}

// The answer and the end of the context may come at the same time.
//
// Covers REQ-12.
func TestNoCancelOfAnsweredRequest(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c)
	for id := range uint32(2) {
		result := callIn(testContext(t), r, nil)
		p.mustReadRequest(kindRequest, id+1)
		p.mustWrite(requestFrame(kindAnswer, id+1, ""))
		must(t, wait(t, result))
		r.abandon(id + 1)
	}
	must(t, r.Close())
	p.mustEnd()
}

// Covers REQ-15.
func TestEndReachesCallThatWaitsForRoom(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c, WithMaxOpen(1))
	first := callIn(testContext(t), r, nil)
	p.mustReadRequest(kindRequest, 1)
	second := callIn(testContext(t), r, nil)
	p.mustWrite(frameOf(nil))
	for _, result := range []<-chan error{first, second} {
		if err := wait(t, result); !errors.Is(err, ErrUnanswered) || !strings.Contains(err.Error(), "(clean)") {
			t.Errorf("a call returned %v", err)
		}
	}
}

// Covers REQ-15.
func TestResetIsCauseOfUnanswered(t *testing.T) {
	c, p := openTCP(t, nil)
	r := NewRequestChannel(c)
	result := callIn(testContext(t), r, nil)
	p.mustReadRequest(kindRequest, 1)
	p.reset()
	if err := wait(t, result); !errors.Is(err, ErrUnanswered) || !errors.Is(err, ErrReset) {
		t.Errorf("the call returned %v", err)
	}
}

// A call whose write fails knows less than the reader.
//
// Covers REQ-15.
func TestCallsAfterTheEnd(t *testing.T) {
	c, _ := openTCP(t, nil)
	must(t, c.Close())
	if _, err := NewRequestChannel(c).Call(testContext(t), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after Close returned %v", err)
	}
	if _, err := NewRequestChannel(new(Channel)).Call(testContext(t), nil); err != ErrNotConnected {
		t.Errorf("a call without a connection returned %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	connected, _ := openTCP(t, nil)
	if _, err := NewRequestChannel(connected).Call(ctx, nil); err != context.Canceled {
		t.Errorf("a call with a context that has ended returned %v", err)
	}
}

// A request that was interrupted goes out whole, and its cancel follows. A request of which
// nothing had been sent is not sent, and no longer open.
//
// Covers REQ-12.
func TestCancelWhileRequestIsSent(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		r := NewRequestChannel(c, WithMaxOpen(2))
		ctx, cancel := context.WithCancel(testContext(t))
		payload := pattern(8<<20, 1)
		first := callIn(ctx, r, payload)
		begin := make([]byte, 1000)
		_, err := p.Read(begin[:1])
		must(t, err)
		second := callIn(ctx, r, []byte("never sent"))
		eventually(t, "the second call waits for its turn", func() bool { return len(r.open) == 2 })
		cancel()
		for _, result := range []<-chan error{first, second} {
			if err := wait(t, result); err != context.Canceled {
				t.Fatalf("a cancelled call returned %v", err)
			}
		}
		_, err = p.Read(begin[1:4])
		must(t, err)
		got := make([]byte, binary.BigEndian.Uint32(begin))
		for have := 0; have < len(got); {
			n, err := p.Read(got[have:])
			must(t, err)
			have += n
		}
		if !bytes.Equal(got[requestHeaderSize:], payload) {
			t.Error("the request did not go out whole")
		}
		p.mustReadRequest(kindCancel, 1)
		if open := len(r.open); open != 1 {
			t.Errorf("%d requests are open", open)
		}
		must(t, c.Close())
	})
}

// Calls are cancelled at any moment, and each of the others gets its own answer.
//
// Covers REQ-6, REQ-12, REQ-13.
func TestCancelsAtAnyMoment(t *testing.T) {
	checkLeaks(t)
	asking, answering := pairOfChannels(t)
	echo := func(_ context.Context, payload []byte) ([]byte, error) { return payload, nil }
	served := background(func() error { return Serve(context.Background(), answering, echo) })
	r := NewRequestChannel(asking, WithMaxOpen(16))
	var callers sync.WaitGroup
	for caller := range 32 {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for i := range 100 {
				ctx, cancel := context.WithCancel(testContext(t))
				if i%2 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				want := fmt.Sprint(caller, i)
				got, err := r.Call(ctx, []byte(want))
				if err == nil && string(got) != want || err != nil && (i%2 != 0 || err != context.Canceled) {
					t.Errorf("call %s returned %q, %v", want, got, err)
				}
				cancel()
			}
		}()
	}
	callers.Wait()
	eventually(t, "no request is open", func() bool { return len(r.open) == 0 })
	must(t, r.Close())
	must(t, wait(t, served))
	must(t, answering.Close())
}

// pairOfChannels returns channels that are connected to each other.
func pairOfChannels(t testing.TB) (*Channel, *Channel) {
	t.Helper()
	var ends [2]*Channel
	for i, conn := range connectedPair(t) {
		opts, err := (*Options)(nil).resolved()
		must(t, err)
		c := newChannel(socketPair, &pairStream{conn}, opts)
		t.Cleanup(func() { c.Close() })
		ends[i] = c
	}
	return ends[0], ends[1]
}
