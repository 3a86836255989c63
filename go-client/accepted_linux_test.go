package ipcchannel

import (
	"bufio"
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// Once the client has left, nobody can tell whose it was, and a server refuses
// it together with what it sent.
func TestCloseStaysUntilAccepted(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		rendezvous := listener.Addr().String()
		c, err := Dial(context.Background(), rendezvous, rendezvous, &Options{Linger: time.Minute})
		must(t, err)
		mustSend(t, c, []byte("short visit"))
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		select {
		case <-closed:
			t.Fatal("the client has left")
		case <-time.After(5 * quiet):
		}
		conn, err := listener.Accept()
		must(t, err)
		defer conn.Close()
		must(t, <-closed)
		got, err := io.ReadAll(bufio.NewReader(conn))
		must(t, err)
		if want := string(frameOf([]byte("short visit"))) + "\x00\x00\x00\x00"; string(got) != want {
			t.Fatalf("got %q, not %q", got, want)
		}
	}
}

// Where it cannot be seen whether the server has let the client in, it stays.
func TestAcceptedIsUnknown(t *testing.T) {
	l := listen(t, 1)
	c := mustDial(t, l.port, l.port, nil)
	defer l.accept()
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur = 3 // all of them are in use
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	accepted := c.stream.isAccepted()
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if accepted {
		t.Fatal("accepted by nobody")
	}
}
