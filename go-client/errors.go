package ipcchannel

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Code says what kind of error an [Error] is. The strings are the same in every
// language that has an ipc-channel client.
type Code string

// The codes of the errors of this package.
const (
	CodeTruncated       Code = "truncated"         // the stream ended inside a frame
	CodeReset           Code = "reset"             // the connection was reset
	CodeTooLarge        Code = "too-large"         // the peer announced a message over the limit
	CodePeerGone        Code = "peer-gone"         // a write failed: the peer no longer reads
	CodeClosed          Code = "closed"            // Close was called at this end
	CodeNotConnected    Code = "not-connected"     // the Channel does not come from Dial
	CodeBadRendezvous   Code = "bad-rendezvous"    // the rendezvous can never work
	CodeEmptyMessage    Code = "empty-message"     // an empty message was to be sent
	CodeMessageTooLarge Code = "message-too-large" // a message over the limit was to be sent
	CodeBadOption       Code = "bad-option"        // an option is out of range: see Options.MaxMessageSize, and NewRequestChannel
	CodeTimeout         Code = "timeout"           // no server came, or the peer took no output, in time
	CodeUnanswered      Code = "unanswered"        // the session ended before the peer had answered a request
	CodeBadMessage      Code = "bad-message"       // the peer sent something that is neither a request nor an answer
)

// Values for errors.Is. An error matches the value that has its code.
var (
	ErrTruncated       error = &Error{Code: CodeTruncated, Detail: "stream ended inside a frame"}
	ErrReset           error = &Error{Code: CodeReset, Detail: "connection reset by the peer"}
	ErrTooLarge        error = &Error{Code: CodeTooLarge, Detail: "frame exceeds the limit"}
	ErrPeerGone        error = &Error{Code: CodePeerGone, Detail: "the peer no longer reads"}
	ErrClosed          error = &Error{Code: CodeClosed, Detail: "the channel was closed at this end: dial again for a new session"}
	ErrNotConnected    error = &Error{Code: CodeNotConnected, Detail: "the Channel is not connected: it must come from Dial or DialEnv"}
	ErrBadRendezvous   error = &Error{Code: CodeBadRendezvous, Detail: "bad rendezvous"}
	ErrEmptyMessage    error = &Error{Code: CodeEmptyMessage, Detail: "an empty message cannot be sent: it would read as the end; send at least 1 byte"}
	ErrMessageTooLarge error = &Error{Code: CodeMessageTooLarge, Detail: "message exceeds the limit"}
	ErrBadOption       error = &Error{Code: CodeBadOption, Detail: "option out of range"}
	ErrTimeout         error = &Error{Code: CodeTimeout, Detail: "no server came, or the peer took no output, in time"}
	ErrUnanswered      error = &Error{Code: CodeUnanswered, Detail: "the session ended before the request was answered"}
	ErrBadMessage      error = &Error{Code: CodeBadMessage, Detail: "the peer sent a message that requests and answers do not allow"}
)

// familiar has the values of the standard library that mean the same as a code,
// so that code written for a net.Conn or an io.Reader recognises the error.
var familiar = map[Code]error{
	CodeTruncated: io.ErrUnexpectedEOF,
	CodeReset:     syscall.ECONNRESET,
	CodePeerGone:  syscall.EPIPE,
	CodeClosed:    net.ErrClosed,
	CodeTimeout:   os.ErrDeadlineExceeded,
}

// Error is the type of every error of a Channel or of Dial, with three exceptions:
// io.EOF, the error of a context that has ended, and an error of the operating system
// that has nothing to do with the peer, such as a lack of descriptors. A
// [RequestChannel] has one more: the [RequestError] that the peer answers with.
//
// errors.Is matches it with the value of its code (ErrReset and so on) and with
// the value of the standard library that means the same: io.ErrUnexpectedEOF
// for truncated, syscall.ECONNRESET for reset, syscall.EPIPE for peer-gone,
// net.ErrClosed for closed, os.ErrDeadlineExceeded for timeout.
type Error struct {
	Code   Code   // the kind of error
	Detail string // what happened, with the numbers and names that matter
	Err    error  // the error that caused this one, or nil
}

// Error returns the detail and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return errorPrefix + e.Detail
	}
	return errorPrefix + e.Detail + ": " + strings.TrimPrefix(e.Err.Error(), errorPrefix)
}

// errorPrefix begins the text of every error, once.
const errorPrefix = "ipcchannel: "

// Timeout reports whether the code is timeout. With it and Temporary an *Error
// is a net.Error, as the errors of package net are.
func (e *Error) Timeout() bool { return e.Code == CodeTimeout }

// Temporary is Timeout, as in package net, which deprecates it.
func (e *Error) Temporary() bool { return e.Timeout() }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error with the same code, or the value of
// the standard library that means the same.
func (e *Error) Is(target error) bool {
	if t, ok := target.(*Error); ok {
		return t.Code == e.Code
	}
	return target != nil && target == familiar[e.Code]
}

func newError(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

func wrapError(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...), Err: cause}
}
