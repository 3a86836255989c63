package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

// task is a request under way. It uses the channel that was current when it began.
type task struct {
	request
	testee   *testee
	channel  *ipcchannel.Channel
	requests *ipcchannel.RequestChannel // for call and serve
	longest  []byte
	said     answer
	stop     context.CancelFunc
	over     chan struct{} // closed when a connect is done
	isBusy   bool          // for a connect: whether another connect waits
}

// end answers the request.
func (t *task) end(err error) {
	t.testee.mu.Lock()
	delete(t.testee.cancels, t.ID)
	t.testee.mu.Unlock()
	if err != nil {
		t.said["error"], t.said["text"] = code(err), text(err)
	}
	t.testee.say(t.said)
}

func code(err error) ipcchannel.Code {
	var coded *ipcchannel.Error
	var answered *ipcchannel.RequestError
	switch {
	case errors.As(err, &answered):
		return answered.Code
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &coded):
		return coded.Code
	}
	return "other" // an error of the operating system, for which the specification has no code
}

// text returns what the peer has said, if it has answered a request with this error.
func text(err error) string {
	var answered *ipcchannel.RequestError
	if errors.As(err, &answered) {
		return answered.Text
	}
	return err.Error()
}

func (t *task) connect(ctx context.Context) error {
	if t.isBusy {
		return &ipcchannel.Error{Code: "busy", Detail: "another connect waits"}
	}
	defer t.connected()
	t.channel.Close()
	options, err := t.options()
	if err != nil {
		return err
	}
	dial := func() (*ipcchannel.Channel, error) { return ipcchannel.DialEnv(ctx, options) }
	if t.In != nil {
		dial = func() (*ipcchannel.Channel, error) { return ipcchannel.Dial(ctx, *t.In, t.Out, options) }
	}
	channel, err := dial()
	if err != nil {
		return err
	}
	t.testee.mu.Lock()
	t.testee.channel, t.testee.requests = channel, nil
	t.testee.mu.Unlock()
	return nil
}

// connected lets the next request connect.
func (t *task) connected() {
	t.testee.mu.Lock()
	t.testee.connecting = nil
	t.testee.mu.Unlock()
	close(t.over)
}

// options translates the options of the request. It refuses what the client cannot be
// given, or would take for something else.
func (r *request) options() (*ipcchannel.Options, error) {
	for _, seconds := range []*float64{r.Timeout, r.Linger} {
		if seconds != nil && *seconds < 0 {
			return nil, badOption("a duration", *seconds)
		}
	}
	options := &ipcchannel.Options{Timeout: duration(r.Timeout), Linger: duration(r.Linger)}
	if size := r.MaxMessageSize; size != nil {
		if *size < 1 || *size > math.MaxUint32 {
			return nil, badOption("max_message_size", *size)
		}
		options.MaxMessageSize = uint32(*size)
	}
	return options, nil
}

func badOption(name string, value any) error {
	return &ipcchannel.Error{Code: ipcchannel.CodeBadOption, Detail: fmt.Sprintf("%s of %v", name, value)}
}

// duration translates seconds. To the client, zero means the default, and a negative
// duration means what the suite calls zero.
func duration(seconds *float64) time.Duration {
	if seconds == nil {
		return 0
	}
	if d := time.Duration(*seconds * float64(time.Second)); d > 0 {
		return d
	}
	return -1
}

func (t *task) read(ctx context.Context) error {
	message, err := t.channel.ReadMessage(ctx)
	if err != nil {
		return t.ended(err)
	}
	digest := sha256.Sum256(message)
	t.said["message"] = answer{"size": len(message), "sha256": hex.EncodeToString(digest[:])}
	return nil
}

func (t *task) write(ctx context.Context) error {
	count := len(t.Sizes)
	if t.Count != nil {
		count = *t.Count
	}
	for i := range count {
		if err := t.channel.WriteMessage(ctx, t.longest[:t.Sizes[i%len(t.Sizes)]]); err != nil {
			return err
		}
	}
	return nil
}

func (t *task) drain(ctx context.Context) error {
	digest := sha256.New()
	err := t.each(ctx, func(message []byte) error {
		digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(message))))
		digest.Write(message)
		return nil
	})
	t.said["sha256"] = hex.EncodeToString(digest.Sum(nil))
	return t.ended(err)
}

func (t *task) echo(ctx context.Context) error {
	return t.ended(t.each(ctx, func(message []byte) error { return t.channel.WriteMessage(ctx, message) }))
}

// each passes every message to use until an error, which may be io.EOF, and counts them.
// It reads into the same memory each time, unlike read, so that the suite checks both.
func (t *task) each(ctx context.Context, use func([]byte) error) (err error) {
	count := 0
	defer func() { t.said["messages"] = count }()
	for message := []byte(nil); ; count++ {
		if message, err = t.channel.ReadMessageInto(ctx, message); err != nil {
			return err
		}
		if err = use(message); err != nil {
			return err
		}
	}
}

// ended adds the end reason to the answer, if the session has ended. To the suite an
// orderly end is no error.
func (t *task) ended(err error) error {
	if reason := t.channel.EndReason(); reason != ipcchannel.EndNone {
		t.said["end"] = reason
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// close ignores the error of Close: output that the peer did not take in time is lost,
// but the channel is closed.
func (t *task) close(context.Context) error {
	t.testee.mu.Lock()
	connecting := t.testee.connecting
	t.testee.mu.Unlock()
	if connecting != nil {
		connecting.stop()
		<-connecting.over
	}
	t.testee.mu.Lock()
	channel := t.testee.channel
	t.testee.mu.Unlock()
	channel.Close()
	return nil
}

func (t *task) cancel(context.Context) error {
	t.testee.mu.Lock()
	defer t.testee.mu.Unlock()
	if cancel := t.testee.cancels[t.Of]; cancel != nil {
		cancel()
	}
	return nil
}
