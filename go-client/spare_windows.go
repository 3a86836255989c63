package ipcchannel

import "net"

// spare has no use on Windows, where a descriptor of a socket cannot be copied.
type spare struct{}

func newSpare(*net.Dialer) *spare { return &spare{} }

func (*spare) close() {}

func (*spare) rescue(error) *tcpStream { return nil }
