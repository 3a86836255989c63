//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"runtime"
	"testing"
)

// A large message takes its size of memory, and no more while it is copied than
// what one header may cost.
//
// Covers FRM-6.
func TestMemoryOfLargeMessage(t *testing.T) {
	const size = 64 << 20
	c, p := openTCP(t, nil)
	sent := background(func() error {
		if err := p.write([]byte{size >> 24, 0, 0, 0}); err != nil {
			return err
		}
		piece := make([]byte, 64<<10)
		for range size / len(piece) {
			if err := p.write(piece); err != nil {
				return err
			}
		}
		return nil
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	message, err := c.ReadMessage(testContext(t))
	must(t, err)
	runtime.ReadMemStats(&after)
	must(t, wait(t, sent))
	if len(message) != size || !bytes.Equal(message[:10], make([]byte, 10)) {
		t.Fatalf("got %s", brief(message))
	}
	taken := after.TotalAlloc - before.TotalAlloc
	t.Logf("%.1f MiB were allocated for %d MiB", float64(taken)/(1<<20), size>>20)
	if taken > size+4<<20 {
		t.Fatal("which is too much")
	}
}
