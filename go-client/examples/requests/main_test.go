package main

import (
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

// start returns the example and the connection that it has made.
func start(t *testing.T) (*exec.Cmd, *net.TCPConn) {
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
	t.Cleanup(func() { conn.Close() })
	return example, conn.(*net.TCPConn)
}

func frame(message string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(message)))) + message
}

// Beyond the specification: what the example requests answers.
func TestRequests(t *testing.T) {
	example, conn := start(t)
	if _, err := io.WriteString(conn, frame("\x11\x00\x00\x00\x07abc")); err != nil {
		t.Fatal(err)
	}
	// The digest of FIPS 180-2, appendix B.
	want := frame("\x12\x00\x00\x00\x07ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	conn.CloseWrite()
	if rest, err := io.ReadAll(conn); err != nil || string(rest) != frame("") {
		t.Errorf("%q, %v", rest, err)
	}
	conn.Close()
	if err := example.Wait(); err != nil {
		t.Error(err)
	}
}
