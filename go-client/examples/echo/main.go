// Command echo is a helper that sends every message back.
//
// It finds the server through IPC_CHANNEL_IN and IPC_CHANNEL_OUT, and exits
// with status 0 when the server has ended the session, with 1 after an error, and
// with 130 or 143 after SIGINT or SIGTERM, once the message in hand is answered.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() {
	ctx, told := untilSignal()
	err := run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		os.Exit(128 + int((<-told).(syscall.Signal))) // as a shell counts it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// untilSignal returns a context that ends at SIGINT or SIGTERM, and a channel that then
// holds the signal. A second signal ends the program at once.
func untilSignal() (context.Context, <-chan os.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	signals, told := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		told <- <-signals
		signal.Reset()
		cancel()
	}()
	return ctx, told
}

// run answers the service that started this program until the service ends the session,
// or until ctx ends.
func run(ctx context.Context) error {
	writing := context.WithoutCancel(ctx) // the message in hand is still answered
	channel, err := ipcchannel.DialEnv(ctx, nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	var buf []byte // used again for every message
	for {
		buf, err = channel.ReadMessageInto(ctx, buf)
		if err == io.EOF || errors.Is(err, context.Canceled) {
			return channel.Close()
		}
		if err != nil {
			return err
		}
		if err := channel.WriteMessage(writing, buf); err != nil {
			return err
		}
	}
}
