// Command echo is a helper that sends every message back.
//
// It finds the server through IPC_CHANNEL_IN and IPC_CHANNEL_OUT, and exits
// with status 0 when the server has ended the session.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	channel, err := ipcchannel.DialEnv(ctx, nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	var buf []byte // used again for every message
	for {
		buf, err = channel.ReadMessageInto(ctx, buf)
		if err == io.EOF {
			return channel.Close()
		}
		if err != nil {
			return err
		}
		if err := channel.WriteMessage(ctx, buf); err != nil {
			return err
		}
	}
}
