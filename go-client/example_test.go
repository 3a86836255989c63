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
// sends the messages and a close frame to the first client, and prints the
// messages that it gets. It returns the rendezvous, and where to wait for its
// end.
func serve(messages ...string) (rendezvous string, done <-chan struct{}) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
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
			fmt.Printf("server got %q\n", payload)
		}
	}()
	return listener.Addr().String(), ended
}

func ExampleDial() {
	ctx := context.Background()
	address, done := serve("hello")

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
	<-done
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
	address, done := serve("one", "two", "three")
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
	<-done
	// Output:
	// one
	// two
	// three
	// EOF
}

func ExampleChannel_ReadMessage_context() {
	address, done := serve()
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
	<-done
	// Output:
	// context canceled
	// EOF
}
