package ipcchannel

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// The kinds of messages (spec/requests.md, "Messages").
const (
	kindRequest byte = 0x11
	kindAnswer  byte = 0x12
	kindError   byte = 0x13
	kindCancel  byte = 0x14
)

// requestHeaderSize is the number of bytes of a kind and an id.
const requestHeaderSize = 5

// leastRequestLimit is the smallest limit of messages in which an error with the longest code
// fits (REQ-17).
const leastRequestLimit = requestHeaderSize + 1 + longestCode

// requestMessage is a message of the layer.
type requestMessage struct {
	kind byte
	id   uint32
	body []byte        // of a request or an answer, in the memory of the message
	err  *RequestError // of an error
}

// parseRequestMessage refuses a message that is not allowed whatever has gone before, with
// an error that matches ErrBadMessage (REQ-4).
func parseRequestMessage(message []byte) (m requestMessage, err error) {
	if len(message) < requestHeaderSize {
		return m, badMessage("it has %s, and the shortest message has %d", countBytes(len(message)), requestHeaderSize)
	}
	m.kind, m.id = message[0], binary.BigEndian.Uint32(message[1:])
	m.body = message[requestHeaderSize:]
	switch m.kind {
	case kindRequest, kindAnswer:
	case kindError:
		m.err, err = parseRequestError(m.body)
	case kindCancel:
		if len(m.body) > 0 {
			err = badMessage("the cancel of request %d has a body of %s", m.id, countBytes(len(m.body)))
		}
	default:
		err = badMessage("its kind is 0x%02x", m.kind)
	}
	return m, err
}

func parseRequestError(body []byte) (*RequestError, error) {
	if len(body) == 0 {
		return nil, badMessage("it is an error without a code")
	}
	length, rest := int(body[0]), body[1:]
	if length > len(rest) {
		return nil, badMessage("it is an error with a code of %s, of which %d are there", countBytes(length), len(rest))
	}
	code := string(rest[:length])
	if !isRequestCode(code) {
		return nil, badMessage("it is an error with the code %q", code)
	}
	text := strings.ToValidUTF8(string(rest[length:]), string(utf8.RuneError))
	return &RequestError{Code(code), text}, nil
}

func badMessage(format string, args ...any) *Error {
	return newError(CodeBadMessage, "the peer sent a message that requests and answers do not allow: %s. "+
		"Do both ends use requests, and nothing else?", fmt.Sprintf(format, args...))
}

func countBytes(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// requestHeader returns the kind and the id of a message.
func requestHeader(kind byte, id uint32) []byte {
	header := make([]byte, requestHeaderSize)
	header[0] = kind
	binary.BigEndian.PutUint32(header[1:], id)
	return header
}

// errorMessage returns an error, which is cut to the limit of the message.
func errorMessage(id uint32, e *RequestError, limit uint32) []byte {
	head := append(requestHeader(kindError, id), byte(len(e.Code)))
	head = append(head, e.Code...)
	room := min(int64(limit)-int64(len(head)), math.MaxInt32)
	return append(head, cutText(e.Text, int(max(room, 0)))...)
}
