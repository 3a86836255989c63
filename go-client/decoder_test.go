//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// decodeSlowly is what the decoder must do, in its simplest form.
func decodeSlowly(limit uint32, wire []byte) (messages [][]byte, reason EndReason) {
	for len(wire) > 0 {
		if len(wire) < 4 {
			return messages, EndTruncated
		}
		length := binary.BigEndian.Uint32(wire)
		wire = wire[4:]
		switch {
		case length == 0:
			return messages, EndClean
		case length > limit:
			return messages, EndTooLarge
		case uint64(len(wire)) < uint64(length):
			return messages, EndTruncated
		}
		messages = append(messages, wire[:length])
		wire = wire[length:]
	}
	return messages, EndEOF
}

func FuzzDecoder(f *testing.F) {
	var cases []streamCase
	loadVectors(f, "frames.json", &cases)
	for _, v := range cases {
		if len(v.Wire) < 1000 {
			f.Add([]byte(v.Wire), v.Limit, uint16(1))
			f.Add([]byte(v.Wire), v.Limit, uint16(3))
		}
	}
	f.Add(append(frameOf(pattern(70_000, 1)), frameOf([]byte("next"))...), uint32(1<<20), uint16(4096))
	f.Fuzz(func(t *testing.T, wire []byte, limit uint32, piece uint16) {
		limit = uint32(min(uint64(limit), math.MaxInt)) // more is a bad option
		limit, size := max(limit, 1), max(int(piece), 1)
		want, wantReason := decodeSlowly(limit, wire)
		got, reason, err := decodeAll(&decoder{limit: limit}, wire, size)
		if reason != wantReason || (err != nil) != (reason == EndTruncated || reason == EndTooLarge) {
			t.Fatalf("end is %s, %v, not %s", reason, err, wantReason)
		}
		if len(got) != len(want) {
			t.Fatalf("%d messages, not %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("message %d is %s, not %s", i, brief(got[i]), brief(want[i]))
			}
		}
	})
}

// Large payloads survive every mix of lent memory and lenders that give up.
//
// Covers FRM-2, FRM-9.
func TestLargePayloads(t *testing.T) {
	for _, size := range []int{readAhead - 4, readAhead - 3, readAhead, allowance, allowance + 1, 3*allowance + 5} {
		for _, room := range []int{0, size - 1, size, 2 * size} {
			for _, giveUp := range []int{0, 1, size / 2, size - 1} {
				t.Run(fmt.Sprint(size, room, giveUp), func(t *testing.T) {
					message := pattern(size, room+giveUp)
					testLargePayload(t, message, room, giveUp)
				})
			}
		}
	}
}

func testLargePayload(t *testing.T, message []byte, room, giveUp int) {
	d := &decoder{limit: DefaultMaxMessageSize}
	wire := append(frameOf(message), frameOf([]byte("next"))...)
	lent := make([]byte, room)
	arrived, gaveUp := 0, false
	for {
		got, err := d.next(lent)
		if err == nil {
			if !bytes.Equal(got, message) {
				t.Fatalf("got %s", brief(got))
			}
			break
		}
		if !gaveUp && arrived > giveUp {
			gaveUp = true
			d.keep()
			clear(lent)
			lent = make([]byte, room)
			continue
		}
		n := copy(d.space(), wire[:min(len(wire), 50_000)])
		d.filled(n)
		arrived += n
		wire = wire[n:]
		room := cap(d.large.data)
		if have := d.large.have(); !d.large.lent && have < allowance && room > max(have, allowance) || room > max(d.large.size, cap(lent)) {
			t.Fatalf("%d bytes allocated for %d of %d", room, have, d.large.size)
		}
	}
	for {
		got, err := d.next(nil)
		if err == nil {
			if string(got) != "next" {
				t.Fatalf("then got %s", brief(got))
			}
			return
		}
		n := copy(d.space(), wire)
		d.filled(n)
		wire = wire[n:]
	}
}
