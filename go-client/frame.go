package ipcchannel

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// headerSize is the number of bytes of a frame's length.
const headerSize = 4

// headSize is how much of a frame is gathered in one buffer, so that header and
// payload leave in one system call. The rest of a larger frame is sent from the
// caller's memory, without a copy. It is the usual capacity of a pipe.
const headSize = 64 << 10

// frame is what is left to send of one frame. Its buffer is used again for the next
// frame.
type frame struct {
	buffer []byte // the memory of head
	head   []byte // header and the first part of the payload
	rest   []byte // the rest of the payload, in the caller's memory
	begun  bool   // whether a byte of the frame has been sent
	size   int    // the length of the message
}

// load makes f the frame of the message that prefix and body are together; no message
// makes it the close frame. The prefix is short, and is copied.
func (f *frame) load(prefix, body []byte) {
	first := min(len(body), headSize-headerSize-len(prefix))
	f.size = len(prefix) + len(body)
	f.buffer = binary.BigEndian.AppendUint32(f.buffer[:0], uint32(f.size))
	f.buffer = append(f.buffer, prefix...)
	f.buffer = append(f.buffer, body[:first]...)
	f.head, f.rest, f.begun = f.buffer, body[first:], false
}

// next returns the bytes to send next, and none when all have been sent.
func (f *frame) next() []byte {
	if len(f.head) > 0 {
		return f.head
	}
	return f.rest
}

// left returns how many bytes next has still to return.
func (f *frame) left() int { return len(f.head) + len(f.rest) }

// sent notes that the first n bytes of next have been sent.
func (f *frame) sent(n int) {
	if n == 0 {
		return
	}
	f.begun = true
	if len(f.head) > 0 {
		f.head = f.head[n:]
	} else {
		f.rest = f.rest[n:]
	}
}

// within returns a hint for an error if a part of this frame had been sent. A peer
// whose limit is smaller than ours ends its session at the header, and this end sees
// only that the peer has gone.
func (f *frame) within() string {
	if !f.begun {
		return ""
	}
	return fmt.Sprintf("; a message of %d bytes was sent only in part: if the peer's limit is smaller, raise MaxMessageSize at both ends",
		f.size)
}

// detach copies what is still in the caller's memory, so that the caller may use it
// again.
func (f *frame) detach() { f.rest = bytes.Clone(f.rest) }

// drop forgets the frame, and with it the caller's memory.
func (f *frame) drop() { f.head, f.rest = nil, nil }
