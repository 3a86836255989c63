// A client of ipc-channel in Go, and around it a testee for the conformance suite.
//
//	go build -o testee . && ipc-channel conformance --transport tcp -- ./testee
//
// Ids such as RDV-43 are requirements of the specification: FRM in spec/framing.md, RDV in
// spec/rendezvous.md, SES in spec/session.md, ERR in spec/errors.md.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// TODO: say what else your client can do: named_pipe, max_message_size, linger,
// concurrent (SES-11, SES-20, SES-33), cancel (SES-10, SES-21).
var can = []string{"tcp"}

const limit = 64 << 20 // FRM-6

// channelError is an error with one of the codes of spec/errors.md.
type channelError struct{ code, text string }

func (e *channelError) Error() string { return e.text }

func coded(code, text string) error { return &channelError{code, text} }

// ---- Your client: connect, read, write, close. This one does the simplest thing over TCP.

// channel is a connection to the server.
type channel struct {
	end    string // the end reason, once there is one
	closed bool
	conn   *net.TCPConn
	stream *bufio.Reader
}

// TODO RDV-4: the other hosts. RDV-5: all that is refused here stays refused.
var portOf = regexp.MustCompile(`\A(?:127\.0\.0\.1:)?([1-9][0-9]{0,4})\z`)

// connect tries again until the timeout (RDV-9, RDV-43).
func connect(in, out string, timeout time.Duration) (*channel, error) {
	// TODO RDV-1, RDV-6, RDV-20 to RDV-38: named pipes.
	// TODO RDV-12: pause for 1 ms first, then twice as long each time, up to 20 ms.
	// TODO RDV-14: also after other errors. RDV-44: not to itself. (RDV-45: Go sets TCP_NODELAY.)
	port := portOf.FindStringSubmatch(in)
	if in != out || port == nil || len(port[1]) == 5 && port[1] > "65535" {
		return nil, coded("bad-rendezvous", fmt.Sprintf("%q and %q lead to no server", in, out))
	}
	for deadline := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port[1], time.Second)
		if err == nil {
			return &channel{conn: conn.(*net.TCPConn), stream: bufio.NewReader(conn)}, nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !os.IsTimeout(err) {
			return nil, err
		}
		if !time.Now().Before(deadline) {
			return nil, coded("timeout", "no server at port "+port[1])
		}
	}
}

// read returns a message, or nil at an orderly end; an end stays (SES-1).
func (c *channel) read() ([]byte, error) {
	if c.end == "" {
		if message := c.readFrame(); message != nil {
			return message, nil
		}
	}
	switch c.end {
	case "truncated", "reset", "too_large":
		return nil, coded(strings.ReplaceAll(c.end, "_", "-"), "the session ended: "+c.end)
	}
	return nil, nil
}

// readFrame returns a message, or sets the end reason and returns nil.
func (c *channel) readFrame() []byte {
	// TODO FRM-9: take the payload in steps of at most 1 MiB.
	// TODO SES-3: an end of the stream after a write has met a reset is a reset.
	var header [4]byte
	if _, err := io.ReadFull(c.stream, header[:]); err != nil {
		c.end = endOf(err, "eof")
		return nil
	}
	size := binary.BigEndian.Uint32(header[:])
	if size == 0 {
		c.end = "clean" // FRM-3
	} else if size > limit {
		c.end = "too_large" // FRM-8
	}
	if c.end != "" {
		return nil
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(c.stream, message); err != nil {
		c.end = endOf(err, "truncated")
		return nil
	}
	return message
}

// endOf returns the end reason that an error of io.ReadFull stands for.
func endOf(err error, nothingRead string) string {
	switch err {
	case io.EOF:
		return nothingRead
	case io.ErrUnexpectedEOF:
		return "truncated" // FRM-10
	}
	return "reset"
}

// write sends a message.
func (c *channel) write(message []byte) error {
	// TODO FRM-4, FRM-7: refuse an empty message, and one over the limit.
	// TODO SES-26: nothing can be sent after a reset, too-large or a failed write.
	if c.closed {
		return coded("closed", "the channel is closed")
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(message)))
	if _, err := c.conn.Write(append(frame, message...)); err != nil {
		return coded("peer-gone", err.Error())
	}
	return nil
}

// close sends the close frame (SES-31) and frees the socket (SES-32).
func (c *channel) close() {
	// TODO SES-34, SES-60 to SES-62: meanwhile read and drop what the peer sends.
	// TODO SES-50 to SES-52: not for longer than the linger.
	// TODO SES-36: send nothing after a reset or a failed write.
	// TODO RDV-48: not before the server has let this client in.
	if c == nil || c.closed {
		return // SES-30
	}
	c.closed = true
	if c.end == "" {
		c.end = "local"
	}
	_, _ = c.conn.Write(make([]byte, 4))
	_ = c.conn.CloseWrite() // SES-35
	_ = c.conn.Close()
}

// ---- The control language (spec/conformance.md), one request at a time. It is complete.

type request struct {
	ID      int
	Do      string
	In, Out *string
	Timeout float64 // seconds
	Pattern string
	Sizes   []int
	Count   *int
}

type answer map[string]any // filled in as far as a request comes

// testee does what it is told.
type testee struct{ channel *channel }

func main() {
	var t testee
	say(answer{"language": 1, "name": "my client", "version": "0.1", "can": can})
	lines := bufio.NewReader(os.Stdin)
	for line, err := lines.ReadBytes('\n'); err == nil; line, err = lines.ReadBytes('\n') {
		told := request{Timeout: 10}
		if err := json.Unmarshal(line, &told); err != nil {
			panic(err)
		}
		a := answer{"id": told.ID}
		t.serve(told, a)
		say(a)
	}
	t.channel.close()
}

func say(a answer) {
	_ = json.NewEncoder(os.Stdout).Encode(a)
}

func (t *testee) serve(told request, a answer) {
	err := t.do(told, a)
	var coded *channelError
	if errors.As(err, &coded) {
		a["error"], a["text"] = coded.code, coded.text
	} else if err != nil {
		a["error"], a["text"] = "other", err.Error()
	}
	reads := told.Do == "read" || told.Do == "drain" || told.Do == "echo"
	if reads && t.channel != nil && t.channel.end != "" {
		a["end"] = t.channel.end
	}
}

func (t *testee) do(told request, a answer) error {
	switch told.Do {
	case "connect":
		return t.connect(told)
	case "close":
		t.channel.close()
		return nil
	case "read", "write", "drain", "echo":
		if t.channel == nil {
			return coded("not-connected", "there is no channel")
		}
	}
	switch told.Do {
	case "read":
		return t.read(a)
	case "write":
		return t.write(told)
	case "drain":
		return t.drain(a)
	case "echo":
		return t.messages(a, t.channel.write)
	}
	panic("told something unknown: " + told.Do) // a mistake of the suite, which ends this program
}

func (t *testee) connect(told request) (err error) {
	t.channel.close()
	t.channel = nil // also if this one fails
	// TODO: max_message_size (FRM-11) and linger (SES-50); bad-option if out of range.
	if told.Timeout < 0 {
		return coded("bad-option", fmt.Sprintf("timeout is %v", told.Timeout))
	}
	if told.In == nil { // by the environment (RDV-7)
		in, out := os.Getenv("IPC_CHANNEL_IN"), os.Getenv("IPC_CHANNEL_OUT")
		if in == "" { // RDV-8
			return coded("bad-rendezvous", "IPC_CHANNEL_IN is not set")
		} else if out == "" {
			return coded("bad-rendezvous", "IPC_CHANNEL_OUT is not set")
		}
		told.In, told.Out = &in, &out
	}
	t.channel, err = connect(*told.In, *told.Out, time.Duration(told.Timeout*1e9))
	return err
}

func (t *testee) read(a answer) error {
	message, err := t.channel.read()
	if message != nil {
		sum := sha256.Sum256(message)
		a["message"] = answer{"size": len(message), "sha256": hex.EncodeToString(sum[:])}
	}
	return err
}

func (t *testee) write(told request) error {
	pattern, err := hex.DecodeString(told.Pattern)
	count := len(told.Sizes)
	if told.Count != nil {
		count = *told.Count
	}
	for number := 0; number < count && err == nil; number++ {
		size := told.Sizes[number%len(told.Sizes)]
		err = t.channel.write(bytes.Repeat(pattern, size/len(pattern)+1)[:size])
	}
	return err
}

func (t *testee) drain(a answer) error {
	sum := sha256.New()
	err := t.messages(a, func(message []byte) error {
		_ = binary.Write(sum, binary.BigEndian, uint32(len(message)))
		sum.Write(message)
		return nil
	})
	a["sha256"] = hex.EncodeToString(sum.Sum(nil))
	return err
}

// messages calls each for every message until the end, and counts them.
func (t *testee) messages(a answer, each func([]byte) error) error {
	for count := 0; ; count++ {
		a["messages"] = count
		message, err := t.channel.read()
		if message == nil || err != nil {
			return err
		}
		if err := each(message); err != nil {
			return err
		}
	}
}
