package ipcchannel

import "net"

// spare does nothing on Windows, where the descriptor of a socket cannot be copied.
type spare struct{}

func newSpare(*net.Dialer) *spare { return &spare{} }

func (*spare) close() {}

func (*spare) rescue(error) *tcpStream { return nil }
