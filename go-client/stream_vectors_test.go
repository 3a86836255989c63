//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"testing"
)

// streamCase is a case of frames.json or ends.json.
type streamCase struct {
	ID, Note  string
	Covers    []string
	Limit     uint32 `json:"max_message_size"`
	Wire      byteString
	Then      string
	Messages  messageList
	EndReason EndReason `json:"end_reason"`
	Error     Code
}

func (v streamCase) withFrameAfter() streamCase {
	v.Wire = append(append(byteString(nil), v.Wire...), "\x00\x00\x00\x01z"...)
	if v.EndReason == EndEOF {
		v.Messages = append(append(messageList(nil), v.Messages...), []byte("z"))
	}
	return v
}

// check reads all messages and then the end.
func (v streamCase) check(t *testing.T, c *Channel) {
	t.Helper()
	for _, message := range v.Messages {
		mustRead(t, c, message)
	}
	want := io.EOF
	if v.Error != "" {
		want = &Error{Code: v.Error}
	}
	mustEndWith(t, c, v.EndReason, want)
}

// Covers FRM-1, FRM-2, FRM-3, FRM-5, FRM-6, FRM-8, FRM-10, FRM-11, SES-5.
func TestFrameVectors(t *testing.T) {
	var cases []streamCase
	loadVectors(t, "frames.json", &cases)
	for _, v := range cases {
		t.Run(v.ID, func(t *testing.T) {
			runs := map[string]streamCase{"as it is": v}
			if v.EndReason != EndTruncated {
				runs["frame after"] = v.withFrameAfter()
			}
			for name, run := range runs {
				t.Run(name, func(t *testing.T) {
					testStreamCase(t, run)
				})
			}
		})
	}
}

// testStreamCase feeds the decoder alone, and then channels.
func testStreamCase(t *testing.T, v streamCase) {
	if uint64(v.Limit) > math.MaxInt {
		t.Skipf("where an int has %d bits, a limit of %d is refused", strconv.IntSize, v.Limit)
	}
	for name, piece := range map[string]int{"whole": max(len(v.Wire), 1), "byte by byte": 1} {
		t.Run(name, func(t *testing.T) { testDecoder(t, v, piece) })
		if piece == 1 && len(v.Wire) > 10_000 {
			continue // a system call for each byte takes too long
		}
		for _, tr := range transports {
			t.Run(name+" over "+tr.name, func(t *testing.T) {
				c, p := tr.open(t, &Options{MaxMessageSize: v.Limit})
				sent := background(func() error { return sendPieces(p, v.Wire, piece) })
				v.check(t, c)
				if v.EndReason == EndEOF || v.EndReason == EndTruncated {
					must(t, wait(t, sent))
				} else {
					<-sent // the channel may have ended before it was all sent
				}
			})
		}
	}
}

func sendPieces(p *peer, wire []byte, piece int) error {
	if len(wire) == 0 {
		// Over pipes, only a peer that has closed both has ended: see
		// TestStrayOpener.
		p.close()
		return nil
	}
	defer p.closeWrite()
	for len(wire) > 0 {
		n := min(piece, len(wire))
		if err := p.write(wire[:n]); err != nil {
			return err
		}
		wire = wire[n:]
	}
	return nil
}

func testDecoder(t *testing.T, v streamCase, piece int) {
	limit := v.Limit
	if limit == 0 {
		limit = DefaultMaxMessageSize
	}
	messages, reason, err := decodeAll(&decoder{limit: limit}, v.Wire, piece)
	if len(messages) != len(v.Messages) {
		t.Fatalf("%d messages, not %d", len(messages), len(v.Messages))
	}
	for i := range messages {
		if !bytes.Equal(messages[i], v.Messages[i]) {
			t.Fatalf("message %d is %s", i, brief(messages[i]))
		}
	}
	var e *Error
	if reason != v.EndReason || (v.Error != "") != errors.As(err, &e) || e != nil && e.Code != v.Error {
		t.Fatalf("end is %s, %v", reason, err)
	}
}

// decodeAll decodes a whole stream, which arrives in pieces.
func decodeAll(d *decoder, wire []byte, piece int) (messages [][]byte, reason EndReason, err error) {
	for {
		message, err := d.next(nil)
		switch {
		case err == nil:
			messages = append(messages, message)
		case err == errCloseFrame:
			return messages, EndClean, nil
		case err != errIncomplete:
			return messages, EndTooLarge, err
		case len(wire) > 0:
			n := copy(d.space(), wire[:min(piece, len(wire))])
			d.filled(n)
			wire = wire[n:]
		default:
			if err := d.endStream(); err != nil {
				return messages, EndTruncated, err
			}
			return messages, EndEOF, nil
		}
	}
}

// Covers SES-1, SES-2, SES-5.
func TestEndVectors(t *testing.T) {
	var cases []streamCase
	loadVectors(t, "ends.json", &cases)
	for _, v := range cases {
		for _, tr := range transports {
			if v.Then == "reset" && !tr.canReset {
				continue // there is no such thing
			}
			t.Run(v.ID+" over "+tr.name, func(t *testing.T) {
				checkLeaks(t)
				c, p := tr.open(t, nil)
				p.mustWrite(v.Wire)
				switch v.Then {
				case "reset":
					mustSend(t, c, []byte("unread, which resets a Unix socket"))
					p.reset()
				case "eof":
					p.close()
				default:
					t.Fatalf("then is %q", v.Then)
				}
				v.check(t, c)
			})
		}
	}
}
