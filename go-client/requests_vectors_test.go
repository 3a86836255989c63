//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

type requestCase struct {
	ID, Note string
	Covers   []string
	Limit    uint32 `json:"max_message_size"`
	Serve    int
	Steps    []requestStep
}

// requestStep is one step; requests.json describes them.
type requestStep struct {
	Call, Cancel, Answer, Error string
	Close, Closes               bool
	Payload, Receive, Sends     hexString
	Peer                        string
	SendsError                  *uint32 `json:"sends_error"`
	Code                        Code
	Text                        *string
}

// hexString is nil where a step has none.
type hexString []byte

func (h *hexString) UnmarshalJSON(data []byte) error {
	var digits string
	if err := json.Unmarshal(data, &digits); err != nil {
		return err
	}
	decoded, err := hex.DecodeString(digits)
	*h = append(hexString{}, decoded...)
	return err
}

// Covers REQ-1, REQ-2, REQ-3, REQ-4, REQ-5, REQ-6, REQ-8, REQ-9, REQ-10, REQ-11, REQ-12, REQ-13, REQ-14, REQ-15, REQ-16.
func TestRequestVectors(t *testing.T) {
	var cases []requestCase
	loadVectors(t, "requests.json", &cases)
	onEach(t, func(t *testing.T, tr transport) {
		for _, v := range cases {
			t.Run(v.ID, func(t *testing.T) {
				checkLeaks(t)
				c, p := tr.open(t, &Options{MaxMessageSize: v.Limit})
				run := newRequestRun(t, c, p, v)
				for len(run.steps) > 0 {
					run.step()
				}
				must(t, c.Close())
				if run.served != nil {
					<-run.served
				}
			})
		}
	})
}

// requestRun is a case under way.
type requestRun struct {
	t        *testing.T
	c        *Channel
	p        *peer
	requests *RequestChannel
	served   <-chan error // nil if this end does not serve
	calls    map[string]*namedCall
	steps    []requestStep
	heard    bool // whether the peer has sent anything
	end      string
}

type namedCall struct {
	result <-chan error
	answer []byte
	cancel context.CancelFunc
	isOver bool // whether a step has seen the result
}

func newRequestRun(t *testing.T, c *Channel, p *peer, v requestCase) *requestRun {
	run := &requestRun{t: t, c: c, p: p, calls: map[string]*namedCall{}, steps: v.Steps}
	if v.Serve == 0 {
		run.requests = NewRequestChannel(c)
		return run
	}
	run.requests = NewRequestChannel(c, WithConcurrency(v.Serve), WithServe())
	run.served = background(func() error { return run.requests.Serve(context.Background(), run.handle) })
	return run
}

// handle is the handler that requests.json describes.
func (run *requestRun) handle(ctx context.Context, payload []byte) ([]byte, error) {
	rest := payload[1:]
	switch payload[0] {
	case 'e':
		return rest, nil
	case 'f':
		code, text, _ := strings.Cut(string(rest), " ")
		return nil, &RequestError{Code(code), text}
	case 't':
		n, err := strconv.Atoi(string(rest))
		return nil, errors.Join(err, &RequestError{"e", strings.Repeat("ä", n)})
	case 'x':
		panic("this request fails")
	case 'w':
		<-ctx.Done()
		return nil, ctx.Err()
	case 'i':
		<-ctx.Done()
		return rest, nil
	case 'l':
		n, err := strconv.Atoi(string(rest))
		return bytes.Repeat([]byte("l"), n), err
	case 'c':
		return run.requests.Call(ctx, rest)
	}
	return nil, fmt.Errorf("payload %q", payload)
}

func (run *requestRun) step() {
	run.t.Helper()
	t, step := run.t, run.steps[0]
	run.steps = run.steps[1:]
	switch {
	case step.Call != "":
		run.call(step)
	case step.Cancel != "":
		run.cancel(run.calls[step.Cancel])
	case step.Close:
		must(t, run.c.Close())
	case step.Receive != nil:
		run.receive(step.Receive)
	case step.Peer != "":
		run.endPeer(step.Peer)
	case step.Sends != nil:
		if got := run.p.mustReadFrame(); !bytes.Equal(got, step.Sends) {
			t.Fatalf("it sent %x, not %x", got, step.Sends)
		}
	case step.SendsError != nil:
		m, err := parseRequestMessage(run.p.mustReadFrame())
		if err != nil || m.id != *step.SendsError || m.err == nil || m.err.Code != step.Code {
			t.Fatalf("it sent %+v, %v", m, err)
		}
	case step.Answer != "":
		call := run.calls[step.Answer]
		call.isOver = true
		if err := wait(t, call.result); err != nil || !bytes.Equal(call.answer, step.Payload) {
			t.Fatalf("call %s was answered with %x, %v", step.Answer, call.answer, err)
		}
	case step.Error != "":
		run.mustFail(step)
	case step.Closes:
		run.mustClose()
	default:
		t.Fatalf("step %+v", step)
	}
}

func (run *requestRun) call(step requestStep) {
	ctx, cancel := context.WithCancel(context.Background())
	run.t.Cleanup(cancel)
	call := &namedCall{cancel: cancel}
	call.result = background(func() (err error) {
		call.answer, err = run.requests.Call(ctx, step.Payload)
		return err
	})
	run.calls[step.Call] = call
}

func (run *requestRun) cancel(call *namedCall) {
	call.cancel()
	if call.isOver {
		return
	}
	if err := wait(run.t, call.result); err != context.Canceled {
		run.t.Fatalf("the cancelled call returned %v", err)
	}
}

// receive sends messages that follow each other in one write: once the first has made the
// other end close, a write could fail, or reset the connection.
func (run *requestRun) receive(message []byte) {
	wire := frameOf(message)
	for len(run.steps) > 0 && run.steps[0].Receive != nil {
		wire = append(wire, frameOf(run.steps[0].Receive)...)
		run.steps = run.steps[1:]
	}
	run.p.mustWrite(wire)
	run.heard = true
}

func (run *requestRun) endPeer(end string) {
	run.end = end
	switch end {
	case "close":
		run.p.mustWrite(frameOf(nil))
	case "truncated":
		run.p.mustWrite([]byte{0, 0, 0, 9, kindAnswer})
	case "eof":
		if !run.heard { // only a process that opens both pipes for good is a peer
			run.p.close()
			return
		}
	}
	run.p.closeWrite()
}

func (run *requestRun) mustFail(step requestStep) {
	run.t.Helper()
	err := wait(run.t, run.calls[step.Error].result)
	var answered *RequestError
	if errors.As(err, &answered) {
		if answered.Code != step.Code || step.Text != nil && answered.Text != *step.Text {
			run.t.Fatalf("the error is %q", answered)
		}
		return
	}
	var coded *Error
	if !errors.As(err, &coded) || coded.Code != step.Code || run.end == "truncated" && !errors.Is(err, ErrTruncated) {
		run.t.Fatalf("call %s failed with %v, not %s", step.Error, err, step.Code)
	}
}

// mustClose checks that this end closes: by itself after a message that is not allowed, and
// otherwise when Serve has returned.
func (run *requestRun) mustClose() {
	run.t.Helper()
	if run.served != nil {
		want := ErrBadMessage
		if run.end != "" {
			want = nil
		}
		if err := wait(run.t, run.served); !errors.Is(err, want) {
			run.t.Fatalf("Serve returned %v, not %v", err, want)
		}
		run.served = nil
	}
	if run.end != "" {
		must(run.t, run.c.Close())
	}
	run.p.mustEnd()
	if _, err := run.requests.Call(context.Background(), nil); !errors.Is(err, ErrBadMessage) && run.end == "" {
		run.t.Fatalf("a later call returned %v", err)
	}
}
