package ipcchannel

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// tcp is the transport over a TCP connection of the loopback interface. The system
// resets a connection that is closed with unread input, and the peer loses output
// that it has not read.
var tcp = &transportType{
	name:              "tcp",
	form:              "PORT, HOST:PORT or [HOST]:PORT with a port from 1 to 65535",
	recognises:        endsInPort,
	parse:             parseAddresses,
	drainsBeforeClose: true,
}

// tcpAddress is an address of the loopback interface.
type tcpAddress struct{ netip.AddrPort }

func (a tcpAddress) dial(ctx context.Context, _ *Options, wait *pacing) (stream, error) {
	return dialTCP(ctx, net.Dialer{}, a.AddrPort, wait)
}

func endsInPort(s string) bool {
	_, port := splitAddress(s)
	_, ok := parsePort(port)
	return ok
}

// parseAddresses takes two strings that end in a port.
func parseAddresses(in, out string) (endpoint, error) {
	addr, err := parseAddress(in)
	if err != nil {
		return nil, err
	}
	if _, err := parseAddress(out); err != nil {
		return nil, err
	}
	if in != out {
		return nil, newError(CodeBadRendezvous, "in %q and out %q must be the same string for TCP", in, out)
	}
	return tcpAddress{addr}, nil
}

func parseAddress(s string) (netip.AddrPort, error) {
	host, digits := splitAddress(s)
	port, _ := parsePort(digits)
	addr, ok := parseHost(host)
	if !ok {
		return netip.AddrPort{}, newError(CodeBadRendezvous,
			"the host in %q must be localhost, 127.x.x.x or [::1]", s)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// splitAddress splits s at its last colon. Without a colon, s is the port and the
// host is localhost.
func splitAddress(s string) (host, port string) {
	if colon := strings.LastIndexByte(s, ':'); colon >= 0 {
		return s[:colon], s[colon+1:]
	}
	return "localhost", s
}

// parsePort takes decimal ASCII digits only: strconv alone would let a sign and
// leading zeros pass.
func parsePort(s string) (uint16, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	port, err := strconv.ParseUint(s, 10, 16)
	return uint16(port), err == nil
}

// parseHost takes loopback addresses only, and looks up no name.
func parseHost(host string) (netip.Addr, bool) {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return netip.Addr{}, false
		}
	}
	switch {
	case inner == "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	case inner == "::1" && bracketed:
		return netip.IPv6Loopback(), true
	}
	addr, err := netip.ParseAddr(inner)
	return addr, err == nil && addr.Is4() && addr.IsLoopback()
}
