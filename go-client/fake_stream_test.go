//go:build linux || darwin

package ipcchannel

import (
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// fakeStream is a scripted stream: it does what real streams do at moments that a test
// cannot bring about from outside.
type fakeStream struct {
	mu                              sync.Mutex
	calls                           []string
	read, write                     func(p []byte) (int, error)
	onReadDeadline, onWriteDeadline func(time.Time)
	left                            func() int
	accepted, drains                bool
}

func newFakeStream() *fakeStream {
	return &fakeStream{
		read:            func([]byte) (int, error) { return 0, io.EOF },
		write:           func(p []byte) (int, error) { return len(p), nil },
		onReadDeadline:  func(time.Time) {},
		onWriteDeadline: func(time.Time) {},
		left:            func() int { return 0 },
		accepted:        true,
		drains:          true,
	}
}

func (f *fakeStream) channel(options *Options) *Channel {
	opts, _ := options.resolved()
	return newChannel(&transportType{drainsBeforeClose: f.drains}, f, opts)
}

func (f *fakeStream) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

func (f *fakeStream) hasCalled(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, call)
}

func (f *fakeStream) Read(p []byte) (int, error) { return f.read(p) }

func (f *fakeStream) Write(p []byte) (int, error) {
	f.note("write")
	return f.write(p)
}

func (f *fakeStream) SetReadDeadline(t time.Time) error {
	f.onReadDeadline(t)
	return nil
}

func (f *fakeStream) SetWriteDeadline(t time.Time) error {
	f.onWriteDeadline(t)
	return nil
}

func (f *fakeStream) CloseWrite() error {
	f.note("close write")
	return nil
}

func (f *fakeStream) unsent() int { return f.left() }

func (f *fakeStream) isDead() bool { return false }

func (f *fakeStream) isAccepted() bool { return f.accepted }

func (f *fakeStream) Close() error {
	f.note("close")
	return nil
}

// busy is a Read or Write that reaches its deadline without having done anything.
func busy([]byte) (int, error) {
	time.Sleep(time.Millisecond)
	return 0, os.ErrDeadlineExceeded
}
