package ipcchannel

import (
	"encoding/binary"
	"errors"
)

// readAhead is the size of the read buffer in bytes, and so the limit of how far a
// channel reads ahead of the application.
const readAhead = 64 << 10

// allowance is the most memory in bytes that a payload gets before as many of its bytes
// have arrived: a header alone must not cost more, whatever length it claims.
const allowance = 1 << 20

var (
	errIncomplete = errors.New("more input is needed")
	errCloseFrame = errors.New("close frame")
)

// decoder turns the bytes of a stream into messages. It does no I/O: the caller
// asks for a message with next; on errIncomplete it puts input where space
// says, reports it with filled, and asks again.
//
// A frame that fits into the read-ahead buffer is decoded there. A larger
// payload is collected apart; if the caller of next has lent enough memory, it is
// read straight into that.
type decoder struct {
	limit uint32
	buf   []byte // buf[r:w] has arrived and is not decoded
	r, w  int
	large payload
}

// next returns the next message, in the memory of dst if that is large enough.
// It returns errIncomplete, errCloseFrame, or a too-large *Error.
func (d *decoder) next(dst []byte) ([]byte, error) {
	if d.large.size == 0 {
		if d.w-d.r < headerSize {
			return nil, errIncomplete
		}
		length := binary.BigEndian.Uint32(d.buf[d.r:])
		if length == 0 {
			return nil, errCloseFrame
		}
		if length > d.limit {
			return nil, newError(CodeTooLarge,
				"frame of %d bytes exceeds the limit of %d: raise MaxMessageSize at both ends if the peer may send so much",
				length, d.limit)
		}
		if size := int(length); size <= readAhead-headerSize {
			return d.nextSmall(dst, size)
		}
		d.beginLarge(dst, int(length))
	}
	if d.large.missing() > 0 {
		return nil, errIncomplete
	}
	return d.large.message(dst), nil
}

func (d *decoder) nextSmall(dst []byte, size int) ([]byte, error) {
	if d.w-d.r < headerSize+size {
		return nil, errIncomplete
	}
	start := d.r + headerSize
	d.r = start + size
	return append(withRoom(dst, size), d.buf[start:d.r]...), nil
}

// withRoom returns an empty slice with room for size bytes, in the memory of
// dst if that is large enough.
func withRoom(dst []byte, size int) []byte {
	if cap(dst) >= size {
		return dst[:0]
	}
	return make([]byte, 0, size)
}

func (d *decoder) beginLarge(dst []byte, size int) {
	d.r += headerSize
	d.large.begin(dst, size)
	for d.r < d.w && d.large.missing() > 0 {
		n := copy(d.large.space(), d.buf[d.r:d.w])
		d.large.filled(n)
		d.r += n
	}
}

// space returns where the next input goes. It is never empty after next has
// returned errIncomplete.
func (d *decoder) space() []byte {
	if d.large.size > 0 {
		return d.large.space()
	}
	if d.buf == nil {
		d.buf = make([]byte, readAhead)
	}
	if d.r > 0 {
		d.w = copy(d.buf, d.buf[d.r:d.w])
		d.r = 0
	}
	return d.buf[d.w:]
}

// filled notes that n bytes were put where space said.
func (d *decoder) filled(n int) {
	if d.large.size > 0 {
		d.large.filled(n)
	} else {
		d.w += n
	}
}

// keep copies what is in memory that was lent to next: the lender stops waiting, and
// may use its memory again.
func (d *decoder) keep() { d.large.keep() }

// endStream returns the error of a stream that ends here, or nil if it ends
// between two frames.
func (d *decoder) endStream() error {
	if d.large.size > 0 {
		return newError(CodeTruncated, "stream ended after %d of the %d payload bytes", d.large.have(), d.large.size)
	}
	have := d.w - d.r
	switch {
	case have == 0:
		return nil
	case have < headerSize:
		return newError(CodeTruncated, "stream ended after %d of the %d header bytes", have, headerSize)
	}
	return newError(CodeTruncated, "stream ended after %d of the %d payload bytes",
		have-headerSize, binary.BigEndian.Uint32(d.buf[d.r:]))
}
