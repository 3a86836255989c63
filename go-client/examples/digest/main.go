// Command digest is a helper that answers every message with its SHA-256
// digest, as 64 lower-case hexadecimal digits.
//
// It is meant to be copied: put your own work in place of the function answer.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/signal"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() {
	// The first Ctrl-C ends the session in an orderly way.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "digest:", err)
		os.Exit(1)
	}
}

// run serves the process that started this one until it ends the session.
func run(ctx context.Context) error {
	channel, err := ipcchannel.DialEnv(ctx, nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	for {
		message, err := channel.ReadMessage(ctx)
		if err == io.EOF {
			return channel.Close()
		}
		if err != nil {
			return err
		}
		if err := channel.WriteMessage(ctx, answer(message)); err != nil {
			return err
		}
	}
}

// answer returns the lower-case hexadecimal SHA-256 digest of message.
func answer(message []byte) []byte {
	sum := sha256.Sum256(message)
	return []byte(hex.EncodeToString(sum[:]))
}
