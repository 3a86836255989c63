package ipcchannel

import (
	"math"
	"time"
)

// The defaults of Options.
const (
	DefaultTimeout        = 10 * time.Second
	DefaultMaxMessageSize = 64 << 20
	DefaultLinger         = time.Second
)

// leastLinger is what a negative Linger means. It is not zero, because a
// deadline that has passed makes a write fail without trying, and the close
// frame nearly always fits.
const leastLinger = 10 * time.Millisecond

// Options are the settings of a Channel. The zero value of a field means its
// default, and a nil *Options means the defaults throughout.
type Options struct {
	// Timeout is how long Dial waits for the server. Zero means
	// DefaultTimeout (10 s), math.MaxInt64 without limit. A negative value means one try, without waiting;
	// over named pipes that finds only a server that holds both already.
	// A server whose queue of TCP connections is full makes Dial up to 1 s late.
	// The context that is given to Dial can end the wait earlier.
	Timeout time.Duration

	// MaxMessageSize is the largest message in bytes that is accepted, in
	// both directions, up to 4,294,967,295. Zero means DefaultMaxMessageSize
	// (64 MiB). A message to be sent over the limit is refused; a message
	// announced by the peer over the limit ends the session. Where an int has
	// 32 bits, more than 2,147,483,647 is refused as bad-option.
	MaxMessageSize uint32

	// Linger is how long Close waits for a peer that does not read, counted
	// anew whenever it takes some output. Zero means DefaultLinger (1 s),
	// math.MaxInt64 without limit. A negative value means hardly at all (10 ms):
	// what the operating system has not accepted by then is lost.
	Linger time.Duration
}

// resolved returns a copy of o with every default filled in.
func (o *Options) resolved() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	if r.Timeout == 0 {
		r.Timeout = DefaultTimeout
	}
	if r.MaxMessageSize == 0 {
		r.MaxMessageSize = DefaultMaxMessageSize
	}
	if r.Linger == 0 {
		r.Linger = DefaultLinger
	}
	r.Timeout = max(r.Timeout, 0)
	r.Linger = max(r.Linger, leastLinger)
	if uint64(r.MaxMessageSize) > math.MaxInt {
		return r, newError(CodeBadOption, "a MaxMessageSize of %d exceeds the %d bytes that an int of this platform can count: set it lower",
			r.MaxMessageSize, math.MaxInt)
	}
	return r, nil
}
