package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// serve sets the environment of a helper and runs it against a server that
// sends wire. It returns what the helper sent and how it ended.
func serve(t *testing.T, wire []byte) ([]byte, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("IPC_CHANNEL_IN", listener.Addr().String())
	t.Setenv("IPC_CHANNEL_OUT", listener.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
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
	return sent, <-ended
}

func frame(message string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// Beyond the specification: what the example echo answers.
func TestEcho(t *testing.T) {
	wire := join(frame("a"), frame("message"), frame(""))
	got, err := serve(t, wire)
	if err != nil || !bytes.Equal(got, wire) {
		t.Errorf("%q, %v", got, err)
	}
}

// Beyond the specification: how the example echo ends without a close frame.
func TestEchoWithoutCloseFrame(t *testing.T) {
	got, err := serve(t, frame("a"))
	if err != nil || !bytes.Equal(got, join(frame("a"), frame(""))) {
		t.Errorf("%q, %v", got, err)
	}
}

// Beyond the specification: how the example echo ends after an error.
func TestEchoOfCutStream(t *testing.T) {
	got, err := serve(t, join(frame("a"), []byte{0, 0}))
	if err == nil || !bytes.Equal(got, join(frame("a"), frame(""))) {
		t.Errorf("%q, %v", got, err)
	}
}
