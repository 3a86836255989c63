//go:build linux || darwin

package ipcchannel

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"sync"
	"testing"
)

// One call at a time to a raw peer, to compare with BenchmarkRoundTrip.
func BenchmarkCall(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		done := background(func() error { return answerAll(p, size) })
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		requests, payload := NewRequestChannel(c), pattern(size, 1)
		b.ResetTimer()
		for range b.N {
			if _, err := requests.Call(ctx, payload); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		go c.Close()
		<-done
	})
}

// 1,000 calls at a time to a raw peer.
func BenchmarkCalls1000(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		done := background(func() error { return answerAll(p, size) })
		requests, payload := NewRequestChannel(c), pattern(size, 1)
		left := make(chan struct{}, b.N)
		for range b.N {
			left <- struct{}{}
		}
		close(left)
		var callers sync.WaitGroup
		b.ResetTimer()
		for range 1000 {
			callers.Add(1)
			go func() {
				defer callers.Done()
				for range left {
					if _, err := requests.Call(context.Background(), payload); err != nil {
						b.Error(err)
					}
				}
			}()
		}
		callers.Wait()
		b.StopTimer()
		go c.Close()
		<-done
	})
}

// One request at a time from a raw peer, to compare with an echo.
func BenchmarkServe(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		served := background(func() error {
			return Serve(context.Background(), c, func(_ context.Context, payload []byte) ([]byte, error) { return payload, nil })
		})
		benchmarkPeer(b, p, append(requestHeader(kindRequest, 1), pattern(size, 1)...))
		c.Close()
		<-served
	})
}

// One message at a time from a raw peer, and back.
func BenchmarkEcho(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Channel, p *peer, size int) {
		echoed := background(func() error {
			for buf := []byte(nil); ; {
				var err error
				if buf, err = c.ReadMessageInto(context.Background(), buf); err != nil {
					return err
				}
				if err := c.WriteMessage(context.Background(), buf); err != nil {
					return err
				}
			}
		})
		benchmarkPeer(b, p, pattern(size, 1))
		c.Close()
		<-echoed
	})
}

// benchmarkPeer has a peer send a message and wait for one of the same size, b.N times.
func benchmarkPeer(b *testing.B, p *peer, message []byte) {
	frame := frameOf(message)
	got := make([]byte, len(frame))
	b.ResetTimer()
	for range b.N {
		p.mustWrite(frame)
		if _, err := io.ReadFull(p, got); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// answerAll answers requests of this size with their payload until the close frame.
func answerAll(p *peer, size int) error {
	in := bufio.NewReaderSize(p, 64<<10)
	frame := make([]byte, headerSize+requestHeaderSize+size)
	for {
		if _, err := io.ReadFull(in, frame[:headerSize]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(frame) == 0 {
			return nil
		}
		if _, err := io.ReadFull(in, frame[headerSize:]); err != nil {
			return err
		}
		frame[headerSize] = kindAnswer
		if err := p.write(frame); err != nil {
			return err
		}
	}
}
