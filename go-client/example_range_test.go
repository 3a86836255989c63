//go:build go1.23

package ipcchannel_test

import (
	"context"
	"fmt"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func ExampleChannel_Messages() {
	ctx := context.Background()
	address, got := serve("one", "two")
	channel, err := ipcchannel.Dial(ctx, address, address, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for message, err := range channel.Messages(ctx) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s\n", message)
	}
	fmt.Println(channel.EndReason())
	channel.Close()
	<-got
	// Output:
	// one
	// two
	// clean
}
