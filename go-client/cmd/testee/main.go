// Command testee lets the conformance suite check this client: it does what it
// is told on its standard input (spec/conformance.md, "Control language").
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testee:", err)
		os.Exit(1)
	}
}

// request is a line of the suite. A field is a pointer where zero does not mean
// the same as none.
type request struct {
	ID             int      `json:"id"`
	Do             string   `json:"do"`
	In             *string  `json:"in"`
	Out            string   `json:"out"`
	Timeout        *float64 `json:"timeout"`
	Linger         *float64 `json:"linger"`
	MaxMessageSize *int64   `json:"max_message_size"`
	Pattern        string   `json:"pattern"`
	Sizes          []uint32 `json:"sizes"`
	Count          *int     `json:"count"`
	Of             int      `json:"of"`
	Payload        string   `json:"payload"`
	Concurrency    int      `json:"concurrency"`
}

type answer map[string]any

var handlers = map[string]func(*task, context.Context) error{
	"connect": (*task).connect, "read": (*task).read, "write": (*task).write, "drain": (*task).drain,
	"echo": (*task).echo, "close": (*task).close, "cancel": (*task).cancel,
	"call": (*task).call, "serve": (*task).serve,
}

type testee struct {
	mu         sync.Mutex // for what follows
	says       *json.Encoder
	channel    *ipcchannel.Channel
	requests   *ipcchannel.RequestChannel // of the channel, or nil
	connecting *task                      // the connect that waits, or nil
	cancels    map[int]context.CancelFunc // by the ids of the requests under way
}

// abilities lists the transports of this system, and what the client can do.
func abilities() []string {
	can := []string{"tcp", "cancel", "concurrent", "max_message_size", "linger", "peer_user", "requests"}
	if runtime.GOOS != "windows" {
		can = append(can, "named_pipe", "unix")
	}
	return can
}

// serve carries out requests until the input ends. Then it cancels those that still
// wait, so that the program ends because there is nothing left to do.
func serve(in io.Reader, out io.Writer) error {
	t := &testee{
		says:    json.NewEncoder(out),
		channel: new(ipcchannel.Channel), // its calls return ErrNotConnected
		cancels: map[int]context.CancelFunc{},
	}
	t.say(answer{
		"language": 1, "name": "Go ipc-channel", "version": runtime.Version(),
		"can": abilities(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	var tasks sync.WaitGroup
	for requests := json.NewDecoder(in); err == nil; {
		var r request
		if err = requests.Decode(&r); err == nil {
			err = t.begin(ctx, r, &tasks)
		}
	}
	cancel()
	tasks.Wait()
	t.channel.Close()
	if err == io.EOF {
		return nil
	}
	return err
}

// begin returns when the request is about to call the client. Goroutines start in any
// order, but the first of two writes must be the first to wait for its turn. For the
// same reason the message is made beforehand.
func (t *testee) begin(ctx context.Context, r request, tasks *sync.WaitGroup) error {
	do, known := handlers[r.Do]
	longest, err := r.longest()
	if !known || err != nil {
		return fmt.Errorf("request %d cannot be understood: %q, %v", r.ID, r.Do, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	this := &task{request: r, testee: t, channel: t.channel, longest: longest, said: answer{"id": r.ID}}
	this.stop, this.over = cancel, make(chan struct{})
	t.cancels[r.ID] = cancel
	if r.Do == "connect" {
		this.isBusy = t.connecting != nil
		if !this.isBusy {
			t.connecting, t.channel, t.requests = this, new(ipcchannel.Channel), nil
		}
	}
	this.requests = t.requestsFor(r)
	t.mu.Unlock()
	begun := make(chan struct{})
	tasks.Add(1)
	go func() {
		defer tasks.Done()
		defer cancel()
		close(begun)
		this.end(do(this, ctx))
	}()
	<-begun
	return nil
}

// say prints a line. It ignores an error: a suite that no longer reads also closes the
// input, which ends the program.
func (t *testee) say(what answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.says.Encode(what)
}

// longest returns the longest message to write. Every other message is a prefix of it.
func (r *request) longest() ([]byte, error) {
	if r.Do != "write" {
		return nil, nil
	}
	pattern, err := hex.DecodeString(r.Pattern)
	if err != nil || len(pattern) == 0 || len(r.Sizes) == 0 {
		return nil, fmt.Errorf("pattern %q, sizes %v", r.Pattern, r.Sizes)
	}
	size := int(slices.Max(r.Sizes))
	return bytes.Repeat(pattern, size/len(pattern)+1)[:size], nil
}
