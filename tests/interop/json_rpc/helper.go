// A helper that answers JSON-RPC 2.0, with the library github.com/creachadair/jrpc2.
package main

import (
	"context"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/handler"
	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() { ipcchannel.Main(serve, nil) }

func serve(ctx context.Context, channel *ipcchannel.Channel) error {
	methods := handler.Map{"add": handler.New(add)}
	return jrpc2.NewServer(methods, nil).Start(messages{ctx, channel}).Wait()
}

type terms struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

func add(_ context.Context, t terms) float64 { return t.A + t.B }

// messages is a channel of jrpc2: a message of ours is one of JSON-RPC.
type messages struct {
	ctx     context.Context
	channel *ipcchannel.Channel
}

func (m messages) Send(message []byte) error { return m.channel.WriteMessage(m.ctx, message) }
func (m messages) Recv() ([]byte, error)     { return m.channel.ReadMessage(m.ctx) }
func (m messages) Close() error              { return m.channel.Close() }
