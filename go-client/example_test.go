package ipcchannel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

// serve stands in for the server of these examples: it listens on loopback,
// sends the messages and a close frame to the first client, and passes on the
// messages that it gets, until their channel is closed. It prints nothing
// itself: its lines could fall anywhere between the client's.
func serve(messages ...string) (rendezvous string, got <-chan string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	received := make(chan string, 1)
	go func() {
		defer close(received)
		defer listener.Close()
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for _, m := range append(messages, "") {
			frame := binary.BigEndian.AppendUint32(nil, uint32(len(m)))
			conn.Write(append(frame, m...))
		}
		for {
			var length uint32
			if binary.Read(conn, binary.BigEndian, &length) != nil || length == 0 {
				return
			}
			payload := make([]byte, length)
			io.ReadFull(conn, payload)
			received <- string(payload)
		}
	}()
	return listener.Addr().String(), received
}

func ExampleDial() {
	ctx := context.Background()
	address, got := serve("hello")

	channel, err := ipcchannel.Dial(ctx, address, address, &ipcchannel.Options{Timeout: 2 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer channel.Close()

	message, err := channel.ReadMessage(ctx)
	fmt.Printf("%q %v\n", message, err)
	if err := channel.WriteMessage(ctx, []byte("world")); err != nil {
		fmt.Println(err)
	}
	_, err = channel.ReadMessage(ctx)
	fmt.Println(err, channel.EndReason())

	channel.Close()
	fmt.Printf("server got %q\n", <-got)
	// Output:
	// "hello" <nil>
	// EOF clean
	// server got "world"
}

func ExampleDial_error() {
	_, err := ipcchannel.Dial(context.Background(), "in", "out", nil)
	fmt.Println(errors.Is(err, ipcchannel.ErrBadRendezvous))
	var e *ipcchannel.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code)
	}
	// Output:
	// true
	// bad-rendezvous
}

func ExampleChannel_ReadMessageInto() {
	ctx := context.Background()
	address, got := serve("one", "two", "three")
	channel, err := ipcchannel.Dial(ctx, address, address, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]byte, 0, 1024) // used again for every message
	for {
		buf, err = channel.ReadMessageInto(ctx, buf)
		if err != nil {
			break
		}
		fmt.Printf("%s\n", buf)
	}
	fmt.Println(err)
	channel.Close()
	<-got
	// Output:
	// one
	// two
	// three
	// EOF
}

func ExampleChannel_ReadMessage_context() {
	address, got := serve()
	channel, err := ipcchannel.Dial(context.Background(), address, address, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = channel.ReadMessage(ctx) // nothing is lost
	fmt.Println(err)
	_, err = channel.ReadMessage(context.Background())
	fmt.Println(err)
	channel.Close()
	<-got
	// Output:
	// context canceled
	// EOF
}

// answer stands in for a server that answers request 1, of one byte, with a message.
func answer(message string) (rendezvous string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		defer listener.Close()
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.ReadFull(conn, make([]byte, len("\x00\x00\x00\x06\x11\x00\x00\x00\x01x")))
		frame := binary.BigEndian.AppendUint32(nil, uint32(len(message)))
		conn.Write(append(frame, message...))
		io.ReadAll(conn)
	}()
	return listener.Addr().String()
}

func ExampleRequestChannel_Call() {
	ctx := context.Background()
	address := answer("\x13\x00\x00\x00\x01\x09not-foundno x here")
	channel, err := ipcchannel.Dial(ctx, address, address, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer channel.Close()
	requests := ipcchannel.NewRequestChannel(channel)
	_, err = requests.Call(ctx, []byte("x"))
	var answered *ipcchannel.RequestError
	if errors.As(err, &answered) {
		fmt.Printf("%s: %s\n", answered.Code, answered.Text)
	}
	// Output:
	// not-found: no x here
}
