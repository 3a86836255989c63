// Command digest is a helper that answers every message with its SHA-256
// digest, as 64 lower-case hexadecimal digits.
//
// It is meant to be copied: put your own work in place of the function answer.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() { ipcchannel.Main(serve, nil) }

// serve answers every message until the service, or a signal, ends the reads.
func serve(ctx context.Context, channel *ipcchannel.Channel) error {
	for {
		message, err := channel.ReadMessage(ctx)
		if err != nil {
			return err // io.EOF at the end
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
