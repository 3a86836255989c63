package ipcchannel

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The codes that this package gives to a [RequestError]; CodeTooLarge is one of them, too.
// An application chooses other codes for errors of its own.
const (
	CodeFailed    Code = "failed"    // the handler has failed
	CodeCancelled Code = "cancelled" // the request was cancelled, and its handler did not come to an end
	CodeUnserved  Code = "unserved"  // the peer does not serve: it only calls, or has stopped
	CodeBusy      Code = "busy"      // the caller has more open requests than the peer takes
)

// longestCode is the most bytes that the code of a RequestError may have.
const longestCode = 64

// RequestError is the error that a request is answered with. A [Handler] returns one, on
// its own or wrapped, to choose the code that its caller sees, and [RequestChannel.Call]
// returns one if the peer has answered with an error. The session goes on either way.
type RequestError struct {
	Code Code   // 1 to 64 bytes, each of a to z, 0 to 9 or a hyphen
	Text string // for people; may be empty
}

// Error returns the code and the text.
func (e *RequestError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("ipcchannel: the request was answered with the error %s", e.Code)
	}
	return fmt.Sprintf("ipcchannel: the request was answered with the error %s: %s", e.Code, e.Text)
}

// sendable returns e, or an error with the code failed that says why e cannot be sent.
func (e *RequestError) sendable() *RequestError {
	if isRequestCode(string(e.Code)) {
		return e
	}
	return &RequestError{CodeFailed, fmt.Sprintf(
		"the handler returned an error with the code %q: a code has 1 to %d bytes of a-z, 0-9 and '-'; its text is %q",
		e.Code, longestCode, e.Text)}
}

func isRequestCode(code string) bool {
	for _, c := range []byte(code) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return 0 < len(code) && len(code) <= longestCode
}

// cutText returns as much of a text as fits into size bytes, as UTF-8.
func cutText(text string, size int) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}
