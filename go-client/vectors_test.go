//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The vectors are the same for the clients in every language.
const vectorDir = "../spec/vectors"

func loadVectors(t testing.TB, name string, cases any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, name))
	must(t, err)
	var file struct {
		Description string
		Version     int
		Cases       json.RawMessage
	}
	must(t, json.Unmarshal(data, &file))
	if file.Version != 1 {
		t.Fatalf("%s has version %d, not 1", name, file.Version)
	}
	// A field that nobody looks at would be a case that is not run.
	strict := json.NewDecoder(bytes.NewReader(file.Cases))
	strict.DisallowUnknownFields()
	must(t, strict.Decode(cases))
}

// byteString is a list of parts: hex digits, or {repeat, times}.
type byteString []byte

func (b *byteString) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	*b = nil
	for _, part := range parts {
		repeated := struct {
			Repeat string
			Times  int
		}{Times: 1}
		if err := json.Unmarshal(part, &repeated.Repeat); err != nil {
			if err := json.Unmarshal(part, &repeated); err != nil {
				return err
			}
		}
		digits, err := hex.DecodeString(repeated.Repeat)
		if err != nil {
			return err
		}
		*b = append(*b, bytes.Repeat(digits, repeated.Times)...)
	}
	return nil
}

// messageList is a list of byte strings and {repeat_message, times}.
type messageList [][]byte

func (m *messageList) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return err
	}
	*m = nil
	for _, item := range items {
		var one byteString
		if err := json.Unmarshal(item, &one); err == nil {
			*m = append(*m, one)
			continue
		}
		var many struct {
			Message string `json:"repeat_message"`
			Times   int
		}
		if err := json.Unmarshal(item, &many); err != nil {
			return err
		}
		message, err := hex.DecodeString(many.Message)
		if err != nil {
			return err
		}
		for range many.Times {
			*m = append(*m, message)
		}
	}
	return nil
}

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
		// TestPasserBy.
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
			if err := d.finish(); err != nil {
				return messages, EndTruncated, err
			}
			return messages, EndEOF, nil
		}
	}
}

func TestEndVectors(t *testing.T) {
	var cases []streamCase
	loadVectors(t, "ends.json", &cases)
	for _, v := range cases {
		for _, tr := range transports {
			if v.Then == "reset" && tr.name == "pipe" {
				continue // there is no such thing
			}
			t.Run(v.ID+" over "+tr.name, func(t *testing.T) {
				checkLeaks(t)
				c, p := tr.open(t, nil)
				p.mustWrite(v.Wire)
				switch v.Then {
				case "reset":
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

func TestRendezvousVectors(t *testing.T) {
	var cases []struct {
		ID, Note, In, Out, Transport, Host string
		Covers                             []string
		Port                               uint16
		Error                              Code
	}
	loadVectors(t, "rendezvous.json", &cases)
	for _, v := range cases {
		t.Run(v.ID, func(t *testing.T) {
			where, err := parseRendezvous(v.In, v.Out)
			var e *Error
			switch {
			case v.Error != "":
				if !errors.As(err, &e) || e.Code != v.Error {
					t.Fatalf("error is %v", err)
				}
			case err != nil:
				t.Fatal(err)
			case v.Transport == "tcp":
				if where.addr.Addr().String() != v.Host || where.addr.Port() != v.Port {
					t.Fatalf("address is %v", where.addr)
				}
			case where.isTCP() || where.in != v.In || where.out != v.Out:
				t.Fatalf("endpoint is %+v", where)
			}
		})
	}
}

func TestEnvironmentVectors(t *testing.T) {
	var cases []struct {
		ID, Note, In, Out, Names string
		Covers                   []string
		Env                      map[string]string
		Error                    Code
	}
	loadVectors(t, "environment.json", &cases)
	for _, v := range cases {
		t.Run(v.ID, func(t *testing.T) {
			in, out, err := envRendezvous(func(name string) (string, bool) {
				value, set := v.Env[name]
				return value, set
			})
			if in != v.In || out != v.Out {
				t.Errorf("rendezvous is %q, %q", in, out)
			}
			if v.Error == "" {
				must(t, err)
			} else if !errors.Is(err, &Error{Code: v.Error}) || !strings.Contains(err.Error(), v.Names) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
