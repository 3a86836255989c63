// Command digest is a helper that answers every message with its SHA-256
// digest, as 64 lower-case hexadecimal digits.
//
// It is meant to be copied: put your own work in place of the function answer.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
		fmt.Fprintln(os.Stderr, "digest:", err)
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
	for {
		message, err := channel.ReadMessage(ctx)
		if err == io.EOF || errors.Is(err, context.Canceled) {
			return channel.Close()
		}
		if err != nil {
			return err
		}
		if err := channel.WriteMessage(writing, answer(message)); err != nil {
			return err
		}
	}
}

// answer returns the lower-case hexadecimal SHA-256 digest of message.
func answer(message []byte) []byte {
	sum := sha256.Sum256(message)
	return []byte(hex.EncodeToString(sum[:]))
}
