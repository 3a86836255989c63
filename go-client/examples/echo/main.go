// Command echo is a helper that sends every message back.
//
// It finds the server through IPC_CHANNEL_IN and IPC_CHANNEL_OUT. [ipcchannel.Main] says
// with which status it exits, and what it does on SIGTERM.
package main

import (
	"context"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() { ipcchannel.Main(echo, nil) }

// echo sends every message back until the service, or a signal, ends the reads.
func echo(ctx context.Context, channel *ipcchannel.Channel) (err error) {
	var buf []byte // used again for every message
	for {
		if buf, err = channel.ReadMessageInto(ctx, buf); err != nil {
			return err // io.EOF at the end
		}
		if err := channel.WriteMessage(ctx, buf); err != nil {
			return err
		}
	}
}
