package ipcchannel

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Once a client has left, the kernel cannot tell which user owned its socket: the server
// refuses it, and what it sent is lost. So Close waits until the server has accepted.
//
// Covers RDV-48, SES-31.
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

// If the client cannot find out whether the server has accepted it, it stays.
//
// Covers RDV-48.
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
		t.Fatal("accepted, as far as a process without a free descriptor can tell")
	}
}

// A peer that has sent something holds the connection, whatever the kernel shows.
//
// Covers SES-63.
func TestFirstByteMeansAccepted(t *testing.T) {
	for _, when := range []string{"before close", "after"} {
		t.Run(when, func(t *testing.T) {
			f := newFakeStream()
			f.accepted = false
			spoken := when == "after"
			f.read = func(p []byte) (int, error) {
				if spoken {
					spoken = false
					return copy(p, frameOf([]byte("hello"))), nil
				}
				return 0, os.ErrDeadlineExceeded
			}
			c := f.channel(&Options{Linger: time.Hour})
			if when == "before close" {
				spoken = true
				mustRead(t, c, []byte("hello"))
			}
			must(t, wait(t, background(c.Close)))
		})
	}
}

// The connection of an IPv6 listener that takes both versions is in the table for IPv6.
//
// Covers RDV-48, SES-63.
func TestAcceptedByBothVersions(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	defer syscall.Close(fd)
	must(t, syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0))
	loopback := syscall.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
	must(t, syscall.Bind(fd, &loopback))
	must(t, syscall.Listen(fd, 1))
	name, err := syscall.Getsockname(fd)
	must(t, err)
	port := strconv.Itoa(name.(*syscall.SockaddrInet6).Port)
	c := mustDial(t, port, port, &Options{Linger: -1})
	if c.stream.isAccepted() {
		t.Fatal("accepted before the server called accept")
	}
	conn, _, err := syscall.Accept(fd)
	must(t, err)
	if !c.stream.isAccepted() {
		t.Fatal("not accepted")
	}
	syscall.Close(conn)
}
