//go:build linux || darwin

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestMain makes this program the example when a test starts it as such.
//
// Beyond the specification: a test starts this program as the example.
func TestMain(m *testing.M) {
	if os.Getenv("IPC_CHANNEL_TEST_EXAMPLE") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start starts the example and returns the server's end of its channel.
func start(t *testing.T) (*exec.Cmd, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	example := exec.Command(os.Args[0])
	address := listener.Addr().String()
	example.Env = append(os.Environ(), "IPC_CHANNEL_IN="+address, "IPC_CHANNEL_OUT="+address, "IPC_CHANNEL_TEST_EXAMPLE=1")
	example.Stderr = os.Stderr
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { example.Process.Kill() })
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return example, conn
}

func statusOf(example *exec.Cmd) int {
	var exit *exec.ExitError
	if errors.As(example.Wait(), &exit) {
		return exit.ExitCode()
	}
	return 0
}

// The message in hand is answered, the channel closed, and the status tells which
// signal it was.
//
// Beyond the specification: how the example ends at a signal.
func TestSignal(t *testing.T) {
	for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sent.String(), func(t *testing.T) {
			example, conn := start(t)
			message := bytes.Repeat([]byte("message"), 1<<20)
			wire := binary.BigEndian.AppendUint32(nil, uint32(len(message)))
			if _, err := conn.Write(append(wire, message...)); err != nil {
				t.Fatal(err)
			}
			first := make([]byte, 10)
			if _, err := io.ReadFull(conn, first); err != nil { // it is writing now
				t.Fatal(err)
			}
			if err := example.Process.Signal(sent); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			want := append(binary.BigEndian.AppendUint32(nil, uint32(len(answerTo(message)))), answerTo(message)...)
			if got := append(first, rest...); !bytes.Equal(got, append(want, 0, 0, 0, 0)) {
				t.Errorf("%d bytes, not %d", len(got), len(want)+4)
			}
			if status := statusOf(example); status != 128+int(sent) {
				t.Errorf("status %d", status)
			}
		})
	}
}

// Beyond the specification: the exit status of the example.
func TestStatus(t *testing.T) {
	for _, end := range []struct {
		wire   []byte
		status int
	}{{[]byte{0, 0, 0, 0}, 0}, {nil, 0}, {[]byte{0, 0}, 1}, {[]byte{255, 255, 255, 255}, 1}} {
		example, conn := start(t)
		conn.Write(end.wire)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
		if status := statusOf(example); status != end.status {
			t.Errorf("%x: status %d", end.wire, status)
		}
	}
}

func answerTo(message []byte) []byte { return answer(message) }
