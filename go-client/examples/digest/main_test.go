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

// Beyond the specification: what the example digest answers.
func TestDigest(t *testing.T) {
	// The digests of FIPS 180-2, appendix B.
	got, err := serve(t, join(
		frame("abc"),
		frame("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
		frame("")))
	want := join(
		frame("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
		frame("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
		frame(""))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

// Beyond the specification: how the example digest ends after an error.
func TestDigestOfCutStream(t *testing.T) {
	if got, err := serve(t, []byte{0, 0, 0, 2, 'a'}); err == nil || !bytes.Equal(got, frame("")) {
		t.Errorf("%q, %v", got, err)
	}
}
