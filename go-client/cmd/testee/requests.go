package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

// requestsFor returns the RequestChannel that a call or a serve uses. The first of them makes
// it, before the next request begins: so what the peer asks while a serve is just beginning
// waits for it. The caller holds t.mu.
func (t *testee) requestsFor(r request) *ipcchannel.RequestChannel {
	if t.requests == nil {
		switch r.Do {
		case "call":
			t.requests = ipcchannel.NewRequestChannel(t.channel)
		case "serve":
			t.requests = ipcchannel.NewRequestChannel(t.channel,
				ipcchannel.WithServe(), ipcchannel.WithConcurrency(r.Concurrency))
		}
	}
	return t.requests
}

func (t *task) call(ctx context.Context) error {
	payload, err := hex.DecodeString(t.Payload)
	if err != nil {
		return err
	}
	answered, err := t.requests.Call(ctx, payload)
	if err != nil {
		return err
	}
	t.said["payload"] = hex.EncodeToString(answered)
	return nil
}

// serve counts the requests that the handler has answered.
func (t *task) serve(ctx context.Context) error {
	var count atomic.Int64
	err := t.requests.Serve(ctx, func(ctx context.Context, payload []byte) ([]byte, error) {
		defer count.Add(1)
		return t.handle(ctx, payload)
	})
	t.said["answered"] = count.Load()
	return t.ended(err)
}

// handle is the handler that spec/conformance.md describes.
func (t *task) handle(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, errors.New("the payload is empty")
	}
	rest := payload[1:]
	switch payload[0] {
	case 'e':
		return rest, nil
	case 'f':
		code, text, _ := strings.Cut(string(rest), " ")
		return nil, &ipcchannel.RequestError{Code: ipcchannel.Code(code), Text: text}
	case 't':
		n, err := strconv.Atoi(string(rest))
		if err != nil {
			return nil, err
		}
		return nil, &ipcchannel.RequestError{Code: "e", Text: strings.Repeat("ä", n)}
	case 'w':
		<-ctx.Done()
		return nil, ctx.Err()
	case 'i':
		<-ctx.Done()
		return rest, nil
	case 'l':
		n, err := strconv.Atoi(string(rest))
		if err != nil {
			return nil, err
		}
		return bytes.Repeat([]byte("l"), n), nil
	case 's':
		if _, err := t.requests.Call(ctx, rest); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	case 'c':
		return t.requests.Call(ctx, rest)
	}
	return nil, fmt.Errorf("payload %q", payload)
}
