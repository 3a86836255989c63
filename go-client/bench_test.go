//go:build linux || darwin

package ipcchannel

import (
	"context"
	"fmt"
	"io"
	"testing"
)

var benchmarkSizes = []int{64, 4096, 65532, 1 << 20}

// Reading what a raw peer sends as fast as it can.
func BenchmarkRead(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		batch := frameOf(pattern(size, 1))
		for len(batch) < readAhead {
			batch = append(batch, batch...)
		}
		done := background(func() error {
			for p.write(batch) == nil {
			}
			return nil
		})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		buf := make([]byte, size)
		b.ResetTimer()
		for range b.N {
			var err error
			if buf, err = c.ReadMessageInto(ctx, buf); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		go c.Close()
		<-done
	})
}

// Writing to a raw peer that discards as fast as it can.
func BenchmarkWrite(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		done := background(func() error {
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, p, make([]byte, 1<<20))
			return err
		})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		message := pattern(size, 1)
		b.ResetTimer()
		for range b.N {
			if err := c.WriteMessage(ctx, message); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		go c.Close()
		<-done
	})
}

// One message to a raw peer and back at a time.
func BenchmarkRoundTrip(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		done := background(func() error {
			buf := make([]byte, headerSize+size)
			for {
				if _, err := io.ReadFull(p, buf); err != nil {
					return nil
				}
				if err := p.write(buf); err != nil {
					return nil
				}
			}
		})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		message := pattern(size, 1)
		buf := make([]byte, size)
		b.ResetTimer()
		for range b.N {
			if err := c.WriteMessage(ctx, message); err != nil {
				b.Fatal(err)
			}
			var err error
			if buf, err = c.ReadMessageInto(ctx, buf); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		go c.Close()
		<-done
	})
}

func benchmark(b *testing.B, run func(b *testing.B, c *Channel, p *peer, size int)) {
	for _, tr := range transports {
		for _, size := range benchmarkSizes {
			b.Run(fmt.Sprintf("%s/%d", tr.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				c, p := tr.open(b, nil)
				run(b, c, p, size)
			})
		}
	}
}

// With one context, which may be one that can end, and memory that is used
// again, nothing is allocated per message.
//
// Beyond the specification: reading and writing allocate nothing per message.
func TestNoAllocations(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		ctx := testContext(t)
		for _, size := range []int{100, 100_000} {
			message := pattern(size, 1)
			frame, buf := frameOf(message), make([]byte, size)
			got := make([]byte, len(frame))
			turn, done := make(chan bool), make(chan error)
			go func() {
				for range turn {
					if _, err := io.ReadFull(p, got); err != nil {
						done <- err
						continue
					}
					done <- p.write(frame)
				}
			}()
			n := testing.AllocsPerRun(100, func() {
				turn <- true
				if err := c.WriteMessage(ctx, message); err != nil {
					t.Error(err)
				}
				var err error
				if buf, err = c.ReadMessageInto(ctx, buf); err != nil {
					t.Error(err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			close(turn)
			if n >= 1 {
				t.Errorf("%v allocations for a message of %d bytes", n, size)
			}
		}
	})
}
