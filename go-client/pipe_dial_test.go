//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// testPipeConnector returns a connector for two pipes, in and out, and releases it at the end.
func testPipeConnector(t *testing.T) (d *pipeConnector, in, out string) {
	t.Helper()
	checkLeaks(t)
	in, out = makePipes(t)
	d = newPipeConnector(in, out)
	t.Cleanup(d.release)
	return d, in, out
}

func mustNotYet(t *testing.T, d *pipeConnector) {
	t.Helper()
	if err := d.try(); !errors.Is(err, errNotYet) {
		t.Fatalf("error is %v", err)
	}
}

// mustOpenAfterTry opens in for writing once a try has opened it for reading.
func mustOpenAfterTry(t *testing.T, d *pipeConnector) int {
	t.Helper()
	mustNotYet(t, d)
	return mustOpen(t, d.inPath, syscall.O_WRONLY|syscall.O_NONBLOCK)
}

// mustConnect makes a channel of what a try has connected.
func mustConnect(t *testing.T, d *pipeConnector) *Channel {
	t.Helper()
	s, err := d.stream()
	must(t, err)
	opts, _ := (*Options)(nil).resolved()
	return newChannel(namedPipe, s, opts)
}

// The server may come, write and leave before this side looks again.
//
// Covers RDV-25, SES-26.
func TestServerCameAndLeft(t *testing.T) {
	for _, removed := range []bool{false, true} {
		t.Run(sprint("pipes removed ", removed), func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			d := newPipeConnector(in, out)
			mustNotYet(t, d)
			p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: mustOpen(t, in, syscall.O_WRONLY)}
			p.mustWrite(frameOf([]byte("took you long")), make([]byte, 4))
			p.close()
			if removed {
				must(t, os.RemoveAll(filepath.Dir(in)))
			}
			must(t, d.try())
			c := mustConnect(t, d)
			if err := c.WriteMessage(testContext(t), []byte("x")); !errors.Is(err, ErrPeerGone) {
				t.Fatalf("error is %v", err)
			}
			mustRead(t, c, []byte("took you long"))
			mustEndWith(t, c, EndClean, io.EOF)
			must(t, c.Close())
		})
	}
}

// A look for a writer may find bytes, which must not be lost.
//
// Covers FRM-2.
func TestLookFindsFirstByte(t *testing.T) {
	d, in, out := testPipeConnector(t)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	mustNotYet(t, d)
	p.w = mustOpen(t, in, syscall.O_WRONLY)
	p.mustWrite(frameOf([]byte("quick"))[:1])
	if !d.hasWriter() {
		t.Fatal("no process has the pipe open for writing")
	}
	p.closeRead() // a server that has written counts, though it no longer reads
	must(t, d.try())
	c := mustConnect(t, d)
	p.mustWrite(frameOf([]byte("quick"))[1:])
	p.close()
	mustRead(t, c, []byte("quick"))
	mustEndWith(t, c, EndEOF, io.EOF)
	must(t, c.Close())
}

// A byte that a look for a writer has found is the first of the stream, whatever follows.
//
// Covers FRM-10.
func TestOnlyTheFirstByte(t *testing.T) {
	in, out := makePipes(t)
	d := newPipeConnector(in, out)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	p.w = mustOpenAfterTry(t, d)
	p.mustWrite([]byte{0})
	if !d.hasWriter() {
		t.Fatal("no process has the pipe open for writing")
	}
	c := mustConnect(t, d)
	p.closeWrite() // it goes on reading
	mustEndWith(t, c, EndTruncated, ErrTruncated)
	must(t, c.Close())
}

// Two stray openers, one at each pipe, are not a server: the reader has left.
//
// Covers RDV-28.
func TestStrayOpenersAtBothPipes(t *testing.T) {
	d, in, out := testPipeConnector(t)
	reader := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
	mustNotYet(t, d)
	syscall.Close(reader)
	writer := mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)
	defer syscall.Close(writer)
	mustNotYet(t, d)
}

// A stray opener that reads our out and leaves is no server that has come and gone.
//
// Covers RDV-28, RDV-29.
func TestStrayOpenerBeforeServer(t *testing.T) {
	d, in, out := testPipeConnector(t)
	for range 2 {
		stray := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
		mustNotYet(t, d)
		syscall.Close(stray)
		mustNotYet(t, d)
		syscall.Close(mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK))
		mustNotYet(t, d)
	}
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)}
	defer p.close()
	must(t, d.try())
}

// A server may come, write and leave between any two looks of one try.
//
// Covers RDV-25.
func TestServerComesAndLeavesInATry(t *testing.T) {
	for _, when := range []moment{afterOpening, afterOut} {
		t.Run(string(when), func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			openR := func() int { return mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK) }
			r := -1
			if when == afterOut { // the client looks at out only if it could open it
				r = openR()
			}
			d := newPipeConnector(in, out)
			d.between = func(now moment) {
				if now != when {
					return
				}
				if r < 0 {
					r = openR()
				}
				p := &peer{t: t, r: r, w: mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)}
				p.mustWrite(frameOf([]byte("in a hurry")))
				p.close()
			}
			must(t, d.try())
			c := mustConnect(t, d)
			mustRead(t, c, []byte("in a hurry"))
			mustEndWith(t, c, EndEOF, io.EOF)
			must(t, c.Close())
		})
	}
}

// A server may write before it opens its in: the client is connected when it has both.
//
// Covers RDV-28.
func TestServerWritesFirst(t *testing.T) {
	d, in, out := testPipeConnector(t)
	syscall.Close(mustOpenAfterTry(t, d)) // a stray opener: nothing but a hang-up is left
	mustNotYet(t, d)
	p := &peer{t: t, r: -1, w: mustOpen(t, in, syscall.O_WRONLY)}
	defer func() { p.close() }()
	p.mustWrite(frameOf([]byte("x")))
	mustNotYet(t, d)
	p.r = mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK)
	must(t, d.try())
	if d.out < 0 {
		t.Fatal("connected without an output")
	}
}
