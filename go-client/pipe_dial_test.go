//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// testPipeConnector returns a connector at two pipes, in and out, and lets go of them at the end.
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

// replacePipe makes path lead to another pipe.
func replacePipe(t *testing.T, path string) {
	t.Helper()
	must(t, syscall.Mkfifo(path+".new", 0o600))
	must(t, os.Rename(path+".new", path))
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

// A server that replaces its pipes is met at the new ones.
//
// Covers RDV-23.
func TestReplacedPipes(t *testing.T) {
	d, in, out := testPipeConnector(t)
	mustNotYet(t, d)
	replacePipe(t, in)
	replacePipe(t, out)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	mustNotYet(t, d)                                           // the old ones are closed
	mustNotYet(t, d)                                           // the new ones are open
	p.w = mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK) // fails without a reader
	must(t, d.try())
}

// A look whether somebody writes may find bytes, which must not be lost.
//
// Covers FRM-2.
func TestLookFindsFirstByte(t *testing.T) {
	d, in, out := testPipeConnector(t)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	mustNotYet(t, d)
	p.w = mustOpen(t, in, syscall.O_WRONLY)
	p.mustWrite(frameOf([]byte("quick"))[:1])
	if !d.hasWriter() {
		t.Fatal("nobody writes")
	}
	p.closeRead() // who has written was there, even so
	must(t, d.try())
	c := mustConnect(t, d)
	p.mustWrite(frameOf([]byte("quick"))[1:])
	p.close()
	mustRead(t, c, []byte("quick"))
	mustEndWith(t, c, EndEOF, io.EOF)
	must(t, c.Close())
}

// A byte that was found in looking is one of the stream, whatever follows.
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
		t.Fatal("nobody writes")
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

// Whoever reads what we write, and leaves, is no server that has come and gone.
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
			if when == afterOut { // which is looked at if it could be opened
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

// What the server does after it was not seen and before we look at the paths.
//
// Covers RDV-23, RDV-25, RDV-29.
func TestReplacedWhileOpening(t *testing.T) {
	const (
		none, opens, writes = "", "opens", "writes"
		connected           = "connected"
		waiting             = "both stay open"
		again               = "both are closed"
	)
	for name, test := range map[string]struct {
		replaced string // which names lead to new pipes
		removed  string // which names are gone
		does     string // what the server does with the pipe that we read
		leaves   bool   // whether the server of the pair that we hold has gone then
		want     string
	}{
		"one of the old pair and one of the new": {replaced: "in", leaves: true, want: again},
		"the new one is read":                    {replaced: "in", want: again},
		"being replaced, the server is slow":     {replaced: "out", want: waiting},
		"replaced after 250 ms":                  {replaced: "in out", does: opens, want: connected},
		"came, wrote and left":                   {removed: "in out", does: writes, leaves: true, want: connected},
		"came, wrote and left, next session":     {replaced: "in out", does: writes, leaves: true, want: connected},
		"being removed":                          {removed: "in", does: writes, leaves: true, want: connected},
		"left and said nothing":                  {replaced: "in out", leaves: true, want: again},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			in, out := makePipes(t)
			r, w := mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), -1
			closeServer := func() {
				for _, fd := range []*int{&r, &w} {
					if *fd >= 0 {
						syscall.Close(*fd)
						*fd = -1
					}
				}
			}
			defer closeServer()
			d := newPipeConnector(in, out)
			defer d.release()
			d.between = func(now moment) {
				if now != afterUnseen {
					return
				}
				if test.does != none {
					w = mustOpen(t, in, syscall.O_WRONLY|syscall.O_NONBLOCK)
				}
				if test.does == writes {
					_, err := syscall.Write(w, frameOf([]byte("a")))
					must(t, err)
				}
				for which, path := range map[string]string{"in": in, "out": out} {
					if slices.Contains(strings.Fields(test.replaced+" "+test.removed), which) {
						must(t, os.Rename(path, path+".old"))
					}
					if slices.Contains(strings.Fields(test.replaced), which) {
						must(t, syscall.Mkfifo(path, 0o600))
					}
				}
				if test.leaves {
					closeServer()
				}
			}
			err := d.try()
			if test.want == connected {
				must(t, err)
				return
			}
			if !errors.Is(err, errNotYet) {
				t.Fatalf("error is %v", err)
			}
			if isOpen := test.want == waiting; (d.in >= 0) != isOpen || (d.out >= 0) != isOpen {
				t.Fatalf("in is %d, out %d", d.in, d.out)
			}
		})
	}
}

// A server may write before it opens what it reads: it is met when it has both.
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

// What an old server has written is not read beside the output to a new one.
//
// Covers RDV-23.
func TestOldInputIsNotPaired(t *testing.T) {
	d, in, out := testPipeConnector(t)
	old := mustOpenAfterTry(t, d)
	defer syscall.Close(old)
	_, err := syscall.Write(old, frameOf([]byte("old")))
	must(t, err)
	replacePipe(t, in)
	replacePipe(t, out)
	p := &peer{t: t, r: mustOpen(t, out, syscall.O_RDONLY|syscall.O_NONBLOCK), w: -1}
	defer func() { p.close() }()
	mustNotYet(t, d)
	p.w = mustOpenAfterTry(t, d)
	must(t, d.try())
}
