//go:build !linux && !darwin

package ipcchannel

import (
	"context"
	"runtime"
)

// dialPipes refuses every rendezvous: this system has no named pipes that it can use.
func dialPipes(_ context.Context, in, _ string, _ *pacing) (stream, error) {
	return nil, newError(CodeBadRendezvous, "%q: named pipes are not supported on %s: use TCP", in, runtime.GOOS)
}
