package ipcchannel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Between two tries Dial waits 1 ms, then twice as long each time up to 20 ms: the
// short pauses find a server that is just starting without delay, and the long ones
// make it cheap to wait for a late server.
const (
	firstPause = time.Millisecond
	lastPause  = 20 * time.Millisecond
)

// Dial connects to the server at the rendezvous: in is what this side reads
// from, out what it writes to. Both are absolute paths of named pipes, or both
// are the same string: unix:PATH with the absolute path of a Unix socket, or PORT,
// HOST:PORT or [HOST]:PORT, where the host is a loopback address (127.0.0.1 if there
// is none).
//
// Dial may be called before the server has created the rendezvous; it tries
// until the server is there, until [Options.Timeout] is over (ErrTimeout) or
// until ctx ends (an error that matches ctx.Err() and says what was in the way).
// The timeout, 10 s by default, also applies if ctx lasts longer. Dial refuses a
// rendezvous that can never work, such as a path that is not a named pipe of this
// process's own user, with ErrBadRendezvous at once, and changes nothing. The server
// at a Unix socket must belong to the process's own user, to root or to a user in
// [Options.AllowedUsers]. A Dial that fails leaves nothing open and may be called again.
//
// The context ends the wait only: it has no effect on the Channel.
func Dial(ctx context.Context, in, out string, options *Options) (*Channel, error) {
	opts, err := options.resolved()
	if err != nil {
		return nil, err
	}
	transport, where, err := parseRendezvous(in, out)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := where.dial(ctx, &opts, newPacing(opts.Timeout))
	if err != nil {
		return nil, err
	}
	c := newChannel(transport, s, opts)
	c.from, c.to = in, out
	return c, nil
}

// DialEnv connects as [Dial] does to the rendezvous that the environment
// variables IPC_CHANNEL_IN and IPC_CHANNEL_OUT name, as a server sets them for
// a helper that it starts. If one of them is missing or empty, the error is
// ErrBadRendezvous.
func DialEnv(ctx context.Context, options *Options) (*Channel, error) {
	in, out, err := envRendezvous(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return Dial(ctx, in, out, options)
}

// pacing paces the tries of one Dial.
type pacing struct {
	timeout  time.Duration
	deadline time.Time
	pause    time.Duration
}

func newPacing(timeout time.Duration) *pacing {
	return &pacing{timeout: timeout, deadline: time.Now().Add(timeout), pause: firstPause}
}

// wait pauses before the next try. The last pause ends at the deadline, so that
// the last try is never early. lastErr says why the last try failed.
func (p *pacing) wait(ctx context.Context, lastErr error) error {
	if ctx.Err() != nil {
		return calledOff(ctx, lastErr)
	}
	left := time.Until(p.deadline)
	if left <= 0 && p.timeout == 0 {
		return wrapError(CodeTimeout, lastErr, "no server is there")
	}
	if left <= 0 {
		return wrapError(CodeTimeout, lastErr, "no server came within %v", p.timeout)
	}
	timer := time.NewTimer(min(p.pause, left))
	defer timer.Stop()
	p.pause = min(2*p.pause, lastPause)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return calledOff(ctx, lastErr)
	}
}

// calledOff returns the error of a Dial whose context has ended. lastErr says what was
// in the way.
func calledOff(ctx context.Context, lastErr error) error {
	return fmt.Errorf("ipcchannel: %w before the server came: %w", ctx.Err(), lastErr)
}

// isFailedConnect reports whether err is that of a connect(2) that may succeed when it is
// made again: of any but those for which this end lacks something. An error that can
// never go away has to be looked for before.
func isFailedConnect(err error) bool {
	var call *os.SyscallError
	// On Windows the call is connectex.
	return errors.As(err, &call) && strings.HasPrefix(call.Syscall, "connect") && !isLacking(err)
}
