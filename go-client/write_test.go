//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func sprint(v ...any) string { return fmt.Sprint(v...) }

// huge is more than all buffers between two ends hold.
const huge = 10 << 20

// Covers FRM-4, FRM-7, SES-25.
func TestRefusedMessages(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 3})
		for _, empty := range [][]byte{nil, {}} {
			if err := c.WriteMessage(testContext(t), empty); !errors.Is(err, ErrEmptyMessage) {
				t.Fatalf("error is %v", err)
			}
		}
		err := c.WriteMessage(testContext(t), []byte("four"))
		if !errors.Is(err, ErrMessageTooLarge) || !strings.HasPrefix(err.Error(), "ipcchannel: message of 4 bytes exceeds the limit of 3: raise MaxMessageSize") {
			t.Fatalf("error is %v", err)
		}
		mustSend(t, c, []byte("abc"))
		if got := p.mustReadFrame(); string(got) != "abc" {
			t.Fatalf("peer got %q", got)
		}
	})
}

// Beyond the specification: a small frame costs one system call.
func TestOneSystemCallPerSmallFrame(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		counted := &countingStream{stream: c.stream}
		c.stream = counted
		message := pattern(headSize-headerSize, 1)
		sent := background(func() error { return c.WriteMessage(testContext(t), message) })
		if got := p.mustReadFrame(); !bytes.Equal(got, message) {
			t.Fatalf("peer got %s", brief(got))
		}
		must(t, wait(t, sent))
		if counted.writes != 1 {
			t.Fatalf("%d writes", counted.writes)
		}
	})
}

type countingStream struct {
	stream
	writes int
}

func (s *countingStream) Write(b []byte) (int, error) {
	s.writes++
	return s.stream.Write(b)
}

// Covers SES-20.
func TestManyWriters(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const writers, each, size = 10, 5, 100_000
		var results []<-chan error
		for w := range writers {
			results = append(results, background(func() error {
				for i := range each {
					if err := c.WriteMessage(testContext(t), pattern(size+w, 100*w+i)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		next := make([]int, writers)
		for range writers * each {
			got := p.mustReadFrame()
			w := len(got) - size
			if w < 0 || w >= writers || !bytes.Equal(got, pattern(size+w, 100*w+next[w])) {
				t.Fatalf("peer got %s", brief(got))
			}
			next[w]++ // each writer's messages are in order
		}
		for _, r := range results {
			must(t, wait(t, r))
		}
	})
}

// Covers SES-22.
func TestBothSendFirst(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		message := pattern(3_000_000, 1)
		peerSends := background(func() error { return p.write(frameOf(message)) })
		channelSends := background(func() error { return c.WriteMessage(testContext(t), message) })
		mustRead(t, c, message)
		if got := p.mustReadFrame(); !bytes.Equal(got, message) {
			t.Fatalf("peer got %s", brief(got))
		}
		must(t, wait(t, peerSends))
		must(t, wait(t, channelSends))
	})
}

// Covers FRM-1, SES-22.
func TestSlowReader(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const count, size = 40, 300_000
		sent := background(func() error {
			for i := range count {
				if err := c.WriteMessage(testContext(t), pattern(size, i)); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range count {
			got := make([]byte, headerSize+size)
			for rest := got; len(rest) > 0; {
				n, err := p.Read(rest[:min(len(rest), 1000+i*100)])
				must(t, err)
				rest = rest[n:]
			}
			if !bytes.Equal(got, frameOf(pattern(size, i))) {
				t.Fatalf("message %d is not whole", i)
			}
		}
		must(t, wait(t, sent))
	})
}

// Covers SES-26, SES-30.
func TestUseOfZeroChannel(t *testing.T) {
	var c Channel
	if _, err := c.ReadMessage(context.Background()); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
	if err := c.WriteMessage(context.Background(), []byte("x")); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
	if c.EndReason() != EndNone {
		t.Error(c.EndReason())
	}
	must(t, c.Close())
}
