//go:build !linux && !darwin

package ipcchannel

import (
	"context"
	"runtime"
)

// dialUnix refuses: a rendezvous of a Unix socket cannot work here.
func dialUnix(_ context.Context, path string, _ []uint32, _ *pacing) (stream, error) {
	return nil, newError(CodeBadRendezvous, "%q: Unix sockets are not supported on %s, use TCP", unixPrefix+path, runtime.GOOS)
}
