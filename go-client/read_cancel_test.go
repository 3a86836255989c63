//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"context"
	"errors"
	"math/rand"
	"testing"
	"time"
)

// Covers FRM-2, SES-10.
func TestEverySplit(t *testing.T) {
	messages := [][]byte{[]byte("one"), pattern(7, 1), {0}}
	var wire []byte
	for _, m := range messages {
		wire = append(wire, frameOf(m)...)
	}
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		for split := range wire {
			p.mustWrite(wire[:split])
			short, cancel := context.WithTimeout(testContext(t), 200*time.Microsecond)
			var early [][]byte
			for {
				m, err := c.ReadMessage(short)
				if err != nil {
					break
				}
				early = append(early, m)
			}
			cancel()
			p.mustWrite(wire[split:])
			for i, m := range messages {
				if i < len(early) {
					if !bytes.Equal(early[i], m) {
						t.Fatalf("split at %d: message %d is %s", split, i, brief(early[i]))
					}
					continue
				}
				mustRead(t, c, m)
			}
		}
	})
}

// Covers SES-10.
func TestCancelledReadLosesNothing(t *testing.T) {
	big := pattern(300_000, 2)
	for name, cut := range map[string]int{"idle": 0, "in header": 2, "after header": 4, "in payload": 200_000} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				c, p := tr.open(t, nil)
				wire := frameOf(big)
				first := background(func() error { return p.write(wire[:cut]) })
				lent := make([]byte, len(big))
				short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				if _, err := c.ReadMessageInto(short, lent); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error is %v", err)
				}
				clear(lent) // it is the caller's again
				second := background(func() error {
					if err := wait(t, first); err != nil {
						return err
					}
					return p.write(append(wire[cut:], frameOf([]byte("next"))...))
				})
				mustRead(t, c, big)
				mustRead(t, c, []byte("next"))
				must(t, wait(t, second))
			})
		})
	}
}

// Covers SES-10.
func TestCancelledReadReturnsAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		ctx, cancel := context.WithCancel(context.Background())
		var readers []<-chan error
		for range 3 { // the first has the turn, two wait for it
			readers = append(readers, background(func() error {
				_, err := c.ReadMessage(ctx)
				return err
			}))
		}
		eventually(t, "a reader has the turn", func() bool { return len(c.reading.slot) == 1 })
		cancel()
		for _, r := range readers {
			if err := wait(t, r); err != context.Canceled {
				t.Fatalf("error is %v", err)
			}
		}
		if _, err := c.ReadMessage(ctx); err != context.Canceled {
			t.Fatalf("error is %v", err)
		}
		p.mustWrite(frameOf([]byte("still here")))
		mustRead(t, c, []byte("still here"))
	})
}

// Covers SES-10.
func TestCancelledUnderLoad(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		const count = 400
		random := rand.New(rand.NewSource(1))
		sent := background(func() error {
			for i := range count {
				if err := p.write(frameOf(pattern(1+i*i, i))); err != nil {
					return err
				}
			}
			return nil
		})
		var buf []byte
		for i := 0; i < count; {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.Intn(500))*time.Microsecond)
			var err error
			buf, err = c.ReadMessageInto(ctx, buf)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				continue
			}
			must(t, err)
			if !bytes.Equal(buf, pattern(1+i*i, i)) {
				t.Fatalf("message %d is %s", i, brief(buf))
			}
			i++
		}
		must(t, wait(t, sent))
	})
}

// A context that has ended reads nothing, not even what is there.
//
// Covers SES-10.
func TestEndedContextTakesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("one")), frameOf([]byte("two")))
		mustRead(t, c, []byte("one"))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := c.ReadMessage(ctx); err != context.Canceled {
			t.Fatalf("error is %v", err)
		}
		mustRead(t, c, []byte("two"))
		p.close()
		must(t, c.Close())
	})
}
