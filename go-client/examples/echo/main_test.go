package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
)

// TestMain makes this program the example when a test starts it as such.
//
// Beyond the specification: a test starts this program as the example.
func TestMain(m *testing.M) {
	if os.Getenv("IPC_CHANNEL_TEST_EXAMPLE") != "" {
		main()
	}
	os.Exit(m.Run())
}

// exchange starts the example, sends it wire and the end of the stream, and returns what the
// example sent and its exit status.
func exchange(t *testing.T, wire []byte) ([]byte, int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	example := exec.Command(os.Args[0])
	address := listener.Addr().String()
	example.Env = append(os.Environ(), "IPC_CHANNEL_IN="+address, "IPC_CHANNEL_OUT="+address, "IPC_CHANNEL_TEST_EXAMPLE=1")
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { example.Process.Kill() })
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	sent, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	example.Wait()
	return sent, example.ProcessState.ExitCode()
}

func frame(message string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// Beyond the specification: what the example echo answers.
func TestEcho(t *testing.T) {
	wire := join(frame("a"), frame("message"), frame(""))
	got, status := exchange(t, wire)
	if status != 0 || !bytes.Equal(got, wire) {
		t.Errorf("%q, status %d", got, status)
	}
}

// Beyond the specification: how the example echo ends after an error.
func TestEchoOfCutStream(t *testing.T) {
	got, status := exchange(t, join(frame("a"), []byte{0, 0}))
	if status != 1 || !bytes.Equal(got, join(frame("a"), frame(""))) {
		t.Errorf("%q, status %d", got, status)
	}
}
