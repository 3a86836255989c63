//go:build unix

// Command benchhelper is the Go peer of the benchmarks. Its orders are those of
// tests/benchmarks/async_end.py.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	ipcchannel "github.com/ipc-channel/ipc-channel/go-client"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "benchhelper:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	in, out, err := awaitGo()
	if err != nil {
		return err
	}
	channel, err := ipcchannel.Dial(ctx, in, out, nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	p := peer{ctx: ctx, channel: channel}
	if err := p.write([]byte("hello")); err != nil {
		return err
	}
	return p.serve()
}

// awaitGo waits for the line with the rendezvous of the server.
func awaitGo() (in, out string, err error) {
	fmt.Println(`{"address": []}`)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return "", "", err
	}
	fields := strings.Split(strings.TrimSpace(line), "\t")
	if len(fields) != 3 || fields[0] != "go" {
		return "", "", fmt.Errorf("no order to go: %q", line)
	}
	return fields[1], fields[2], nil
}

// peer does what the orders on its channel say.
type peer struct {
	ctx     context.Context
	channel *ipcchannel.Channel
	buf     []byte // used again for every message
}

func (p *peer) serve() error {
	for {
		order, err := p.read()
		if err != nil {
			return err
		}
		var name string
		var count, size int
		// An order has one to three fields.
		fmt.Sscan(string(order), &name, &count, &size)
		if name == "quit" {
			return p.channel.Close()
		}
		received, err := p.do(name, count, size)
		if err != nil {
			return err
		}
		if err := p.write([]byte(fmt.Sprintf("%d %d", cpuTime(), received))); err != nil {
			return err
		}
	}
}

func (p *peer) do(name string, count, size int) (received int, err error) {
	switch name {
	case "echo":
		return 0, p.echo(count)
	case "sink":
		return p.sink(count)
	case "both":
		return p.both(count, size)
	}
	return 0, fmt.Errorf("no such order: %q", name)
}

func (p *peer) echo(count int) error {
	for range count {
		message, err := p.read()
		if err != nil {
			return err
		}
		if err := p.write(message); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) sink(count int) (received int, err error) {
	for range count {
		message, err := p.read()
		if err != nil {
			return received, err
		}
		received += len(message)
	}
	return received, nil
}

func (p *peer) both(count, size int) (received int, err error) {
	sent := make(chan error, 1)
	go func() { sent <- p.send(count, make([]byte, size)) }()
	received, err = p.sink(count)
	return received, errors.Join(err, <-sent)
}

func (p *peer) send(count int, payload []byte) error {
	for range count {
		if err := p.write(payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) write(message []byte) error {
	return p.channel.WriteMessage(p.ctx, message)
}

func (p *peer) read() (message []byte, err error) {
	p.buf, err = p.channel.ReadMessageInto(p.ctx, p.buf)
	return p.buf, err
}

// cpuTime returns the nanoseconds of CPU time that this process has used.
func cpuTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
