// Command requests is a helper that answers every request with the SHA-256 digest of its
// payload, as 64 lower-case hexadecimal digits. The service may have many requests open.
//
// It is meant to be copied: put your own work in place of the function digest.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() {
	ipcchannel.Main(func(ctx context.Context, channel *ipcchannel.Channel) error {
		return ipcchannel.Serve(ctx, channel, digest)
	}, nil)
}

func digest(_ context.Context, payload []byte) ([]byte, error) {
	sum := sha256.Sum256(payload)
	return []byte(hex.EncodeToString(sum[:])), nil
}
