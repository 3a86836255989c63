// Package ipcchannel lets a Go program talk to the process at the other end of
// an ipc-channel, over a pair of named pipes, a Unix socket or loopback TCP. It is the
// client side: the other process, the server, has created the rendezvous and
// has told this program where it is.
//
// A program that was started as a helper finds the rendezvous in its environment. [Main]
// does everything that such a program needs apart from its own work:
//
//	func main() { ipcchannel.Main(echo, nil) }
//
//	func echo(ctx context.Context, channel *ipcchannel.Channel) error {
//		for {
//			message, err := channel.ReadMessage(ctx)
//			if err != nil {
//				return err // io.EOF at the end
//			}
//			if err := channel.WriteMessage(ctx, message); err != nil {
//				return err
//			}
//		}
//	}
//
// Other programs call [DialEnv] or [Dial], and [Channel.Close] at the end.
//
// # Messages
//
// A message is a byte string of 1 to [Options.MaxMessageSize] bytes. One
// [Channel.WriteMessage] is one [Channel.ReadMessage] at the other end: no
// message is lost, doubled, split or merged. On the wire it is a frame: the
// length as four bytes, big-endian, then the payload. The length zero is the
// close frame, which says that nothing more will be sent; an empty message can
// therefore not be sent.
//
// # The end
//
// A session ends once, and every read after that reports the same end, which
// [Channel.EndReason] names. Messages that arrived whole before the end are
// delivered first. Only reads look for the peer's end: a program that only writes
// sees ErrPeerGone or ErrReset instead.
//
//	seen                                       error of ReadMessage      EndReason
//	close frame                                io.EOF                    EndClean
//	end of stream between two frames           io.EOF                    EndEOF
//	end of stream inside a frame               ErrTruncated              EndTruncated
//	connection reset                           ErrReset                  EndReset
//	a length over the limit                    ErrTooLarge               EndTooLarge
//	Close was called at this end               ErrClosed                 EndLocal
//
// # Requests
//
// If one end asks and the other answers, both can use [Serve] and [RequestChannel], a
// layer over messages: many requests may be open at once, are answered in any order, and
// can be cancelled.
//
// # Concurrency
//
// Any number of goroutines may use a Channel. Frames never interleave, and each
// message goes to exactly one reader. A waiting goroutine is parked in the runtime's
// poller and holds no thread of the operating system.
package ipcchannel
