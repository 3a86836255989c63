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

// leastLinger is used for a negative Linger. It is not zero, because a write whose
// deadline has passed fails without trying, and the close frame nearly always fits.
const leastLinger = 10 * time.Millisecond

// Options are the settings of a Channel. The zero value of a field means its
// default, and a nil *Options means the defaults throughout.
type Options struct {
	// Timeout is how long Dial waits for the server. Zero means
	// DefaultTimeout (10 s), math.MaxInt64 no limit. A negative value means a
	// single try without waiting; over named pipes that finds only a server
	// that already has both pipes open. While the server's queue of TCP
	// connections is full, Dial may return up to 1 s late. The context that is
	// passed to Dial can end the wait earlier.
	Timeout time.Duration

	// MaxMessageSize is the largest message in bytes that is accepted, in
	// both directions, up to 4,294,967,295. Zero means DefaultMaxMessageSize
	// (64 MiB). A message to be sent over the limit is refused; a message
	// announced by the peer over the limit ends the session. Where an int has
	// 32 bits, more than 2,147,483,647 is refused as bad-option.
	MaxMessageSize uint32

	// Linger is how long Close waits while the peer takes no output; the wait
	// starts again whenever the peer takes some. Zero means DefaultLinger (1 s),
	// math.MaxInt64 no limit. A negative value means 10 ms: output that the
	// operating system has not accepted by then is lost.
	Linger time.Duration

	// AllowedUsers are the ids of the users whose server Dial accepts at a Unix
	// socket, besides root and the effective user of the process, which it always
	// accepts. If the server belongs to any other user, Dial fails with
	// ErrBadRendezvous before it sends a byte. The other transports ignore the
	// option: named pipes must belong to the effective user, and over TCP a client
	// cannot ask for the server's user.
	AllowedUsers []uint32
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
