package ipcchannel

import (
	"fmt"
	"log/slog"
)

// String shows the state of the channel, its rendezvous and its limits.
func (c *Channel) String() string {
	if c.stream == nil {
		return "ipcchannel.Channel(not connected)"
	}
	return fmt.Sprintf("ipcchannel.Channel(%s, in %s, out %s, max message size %d, linger %v)",
		c.state(), c.from, c.to, c.limit, c.linger)
}

// GoString is String: %#v would otherwise read the fields of a Channel, which is a
// race while the channel is in use.
func (c *Channel) GoString() string { return c.String() }

// LogValue says the same as String, in attributes.
func (c *Channel) LogValue() slog.Value {
	if c.stream == nil {
		return slog.GroupValue(slog.String("state", "not connected"))
	}
	return slog.GroupValue(
		slog.String("state", c.state().String()),
		slog.String("in", c.from),
		slog.String("out", c.to),
		slog.Uint64("max_message_size", uint64(c.limit)),
		slog.Duration("linger", c.linger),
	)
}

// String shows the state of the session in words.
func (s sessionState) String() string {
	state := "connected"
	if s.isClosing() {
		state = "closed"
	}
	if s.end != EndNone {
		state += ", ended: " + string(s.end)
	}
	return state
}
