package ipcchannel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// The exit statuses of Main.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2 // started by hand, without the environment variables
)

// together is how long further signals belong to the first: a terminal that closes, for
// instance, may send SIGHUP twice, and systemd SIGHUP after SIGTERM.
const together = time.Second

// Main is the main function of a helper. It connects with [DialEnv], lets serve use the
// channel until serve returns, closes the channel, and exits with a status that tells
// the service how it went. It never returns, so deferred calls of its caller do not run.
//
// The status is
//
//   - 0 if serve returned nil, or the io.EOF of a read, and the peer's direction had not
//     ended with an error (truncated, reset or too-large). Also if a write failed because
//     the service had closed its channel: it does not want the answer any more.
//   - 1 after any other error, after a panic of serve, if there was no server to connect
//     to, and if the peer did not take the last output within [Options.Linger]. A line on
//     standard error says why, with the code of the error.
//   - 2 if an environment variable is missing: somebody has started the helper by hand.
//     Standard error says what the program is, and shows a command line to try it with.
//
// On SIGINT, SIGTERM and SIGHUP (on Windows: CTRL_C, CTRL_BREAK, and the closing of the
// console) reads return io.EOF, even if messages are unread, so that serve finishes the
// message in hand and returns. The status is 0 then. To let the answer go out, the signal
// does not end ctx, which ends only after serve has returned. Another signal more
// than a second later ends the process at once, as if Main did not handle it. SIGINT and SIGHUP stay ignored if they
// were ignored when the process began, as under nohup.
//
// To learn of the signal, or of the end of the session, while serve waits for something
// else, read in another goroutine. A panic in another goroutine ends the process at once,
// as in any Go program; the service then sees the end of the stream without a close frame.
func Main(serve func(ctx context.Context, channel *Channel) error, options *Options) {
	os.Exit(runHelper(serve, options))
}

// runHelper does what Main does, and returns the exit status.
func runHelper(serve func(context.Context, *Channel) error, options *Options) int {
	if _, _, err := envRendezvous(os.LookupEnv); err != nil {
		fmt.Fprint(os.Stderr, usage(os.Args, err))
		return statusUsage
	}
	untilSignal, stop := signal.NotifyContext(context.Background(), endingSignals()...)
	defer stop()
	context.AfterFunc(untilSignal, func() {
		time.Sleep(together)
		stop() // further signals have their default action
	})
	channel, err := DialEnv(untilSignal, options)
	if errors.Is(err, context.Canceled) {
		return statusDone
	}
	if err != nil {
		return failed(err)
	}
	context.AfterFunc(untilSignal, channel.stopReading)
	return serveAndClose(serve, channel)
}

// endingSignals returns the signals that ask a helper to end.
func endingSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	for _, each := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(each) {
			signals = append(signals, each)
		}
	}
	return signals
}

// serveAndClose reports an error before it closes the channel: when the service sees the
// end, it finds the reason in what the helper has printed.
func serveAndClose(serve func(context.Context, *Channel) error, channel *Channel) int {
	status := statusDone
	if err := outcome(serve, channel); err != nil {
		status = failed(err)
	}
	if err := channel.Close(); err != nil && status == statusDone {
		status = failed(err)
	}
	return status
}

// outcome runs serve, and returns why the helper has failed, or nil.
func outcome(serve func(context.Context, *Channel) error, channel *Channel) error {
	err := guarded(serve, channel)
	if end := channel.readError(); err == io.EOF && end == io.EOF {
		err = nil // of a read; another reader's io.EOF is an error
	}
	if lost := channel.writeError(); lost != nil && errors.Is(err, lost) && channel.isUnwanted() {
		err = nil
	}
	switch channel.EndReason() {
	case EndTruncated, EndReset, EndTooLarge:
		return cmp.Or(err, channel.readError()) // although serve may have swallowed the error
	}
	return err
}

// isUnwanted reports, after a write has failed, whether nobody waits for its message: the
// service has closed its channel in order, or a signal has ended this helper.
func (c *Channel) isUnwanted() bool {
	ctx, cancel := context.WithTimeout(context.Background(), min(c.linger, DefaultLinger))
	defer cancel()
	for {
		if _, err := c.ReadMessage(ctx); err != nil {
			return err == io.EOF && c.EndReason() != EndEOF
		}
	}
}

// guarded turns a panic of serve into an error, so that the channel is still closed.
func guarded(serve func(context.Context, *Channel) error, channel *Channel) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("panic: %v\n\n%s", value, debug.Stack())
		}
	}()
	return serve(ctx, channel)
}

// failed reports an error on standard error, with the code of an Error in it.
func failed(err error) int {
	text := strings.TrimPrefix(err.Error(), "ipcchannel: ")
	var coded *Error
	if errors.As(err, &coded) {
		text = string(coded.Code) + ": " + text
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", programName(os.Args), strings.TrimRight(text, "\n"))
	return statusFailed
}

func programName(args []string) string {
	return strings.TrimSuffix(filepath.Base(args[0]), ".exe")
}
