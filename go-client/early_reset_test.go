//go:build linux || darwin

package ipcchannel

import (
	"io"
	"syscall"
	"testing"
)

// A client that a server resets as soon as it has accepted is connected, however late
// the client looks: it reads what the server sent, and then the end.
//
// Covers RDV-49, SES-2, SES-5.
func TestServerResetsAtOnce(t *testing.T) {
	frame := frameOf([]byte("hello"))
	for name, test := range map[string]struct {
		wire     []byte
		endFirst bool
		reason   EndReason
		err      error
	}{
		"reset":               {nil, false, EndReset, ErrReset},
		"message, reset":      {frame, false, EndReset, ErrReset},
		"end, then reset":     {nil, true, EndEOF, io.EOF},
		"message, end, reset": {frame, true, EndEOF, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			l := listen(t, 16)
			for range 1000 {
				served := background(func() error {
					fd, _, err := syscall.Accept(l.fd)
					if err != nil {
						return err
					}
					p := &peer{t: t, r: fd, w: fd}
					err = p.write(test.wire)
					if test.endFirst {
						p.closeWrite()
					}
					p.reset()
					return err
				})
				c, err := Dial(testContext(t), l.port, l.port, &Options{Timeout: -1})
				if err != nil {
					t.Fatal(err)
				}
				if test.wire != nil {
					mustRead(t, c, []byte("hello"))
				}
				mustEndWith(t, c, test.reason, test.err)
				c.Close()
				must(t, wait(t, served))
			}
		})
	}
}
