//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// replacePipe makes path lead to another pipe.
func replacePipe(t *testing.T, path string) {
	t.Helper()
	must(t, syscall.Mkfifo(path+".new", 0o600))
	must(t, os.Rename(path+".new", path))
}

// A client finds a server that replaces its pipes at the new ones.
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

// What the server may do between two system calls of a try.
//
// Covers RDV-23, RDV-25, RDV-29.
func TestReplacedWhileOpening(t *testing.T) {
	for _, when := range []moment{afterOpening, afterOut, afterUnseen} {
		t.Run(string(when), func(t *testing.T) { testReplaced(t, when) })
	}
}

func testReplaced(t *testing.T, when moment) {
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
				if now != when {
					return
				}
				d.between = func(moment) {}
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
				c := mustConnect(t, d)
				if test.does == opens {
					_, err := syscall.Write(w, frameOf([]byte("a")))
					must(t, err)
					closeServer()
				}
				mustRead(t, c, []byte("a"))
				mustEndWith(t, c, EndEOF, io.EOF)
				must(t, c.Close())
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
