package ipcchannel

import (
	"net/netip"
	"strconv"
	"strings"
)

// The environment variables that tell a helper its rendezvous.
const (
	EnvIn  = "IPC_CHANNEL_IN"  // what the helper reads from
	EnvOut = "IPC_CHANNEL_OUT" // what the helper writes to
)

// maxPath is the longest path in bytes that Linux takes, its final NUL apart.
const maxPath = 4095

// endpoint is what the two strings of a rendezvous lead to: either a pair of
// named pipes or an address of the loopback interface.
type endpoint struct {
	in, out string         // the paths, when addr is not valid
	addr    netip.AddrPort // the address, when it is TCP
}

func (e endpoint) isTCP() bool { return e.addr.IsValid() }

// parseRendezvous tells the transport from the form of the strings. It touches
// nothing: whether the paths exist is found out when they are opened.
func parseRendezvous(in, out string) (endpoint, error) {
	inPath, outPath := strings.HasPrefix(in, "/"), strings.HasPrefix(out, "/")
	switch {
	case inPath && outPath:
		return parsePaths(in, out)
	case inPath || outPath:
		return endpoint{}, newError(CodeBadRendezvous, "one of in %q and out %q is a path and the other is not", in, out)
	}
	for _, address := range []string{in, out} {
		if _, err := parseAddress(address); err != nil {
			return endpoint{}, err
		}
	}
	if in != out {
		return endpoint{}, newError(CodeBadRendezvous, "in %q and out %q must be the same string for TCP", in, out)
	}
	addr, _ := parseAddress(in)
	return endpoint{addr: addr}, nil
}

func parsePaths(in, out string) (endpoint, error) {
	for _, path := range []string{in, out} {
		if len(path) > maxPath {
			return endpoint{}, newError(CodeBadRendezvous, "a path of %d bytes exceeds the limit of %d", len(path), maxPath)
		}
		if strings.IndexByte(path, 0) >= 0 {
			return endpoint{}, newError(CodeBadRendezvous, "path %q contains a NUL byte", path)
		}
	}
	if in == out {
		return endpoint{}, newError(CodeBadRendezvous, "in and out are the same path %q", in)
	}
	return endpoint{in: in, out: out}, nil
}

// parseAddress reads PORT, HOST:PORT or [HOST]:PORT.
func parseAddress(s string) (netip.AddrPort, error) {
	colon := strings.LastIndexByte(s, ':')
	port, ok := parsePort(s[colon+1:])
	if !ok {
		return netip.AddrPort{}, newError(CodeBadRendezvous,
			"%q is neither an absolute path nor PORT, HOST:PORT or [HOST]:PORT with a port from 1 to 65535", s)
	}
	host := "localhost"
	if colon >= 0 {
		host = s[:colon]
	}
	addr, ok := parseHost(host)
	if !ok {
		return netip.AddrPort{}, newError(CodeBadRendezvous,
			"host %q is none of localhost, 127.0.0.0/8 and [::1]", host)
	}
	return netip.AddrPortFrom(addr, port), nil
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

// envRendezvous reads the two environment variables through lookup.
func envRendezvous(lookup func(string) (string, bool)) (in, out string, err error) {
	if in, err = envValue(lookup, EnvIn); err != nil {
		return "", "", err
	}
	if out, err = envValue(lookup, EnvOut); err != nil {
		return "", "", err
	}
	return in, out, nil
}

func envValue(lookup func(string) (string, bool), name string) (string, error) {
	value, set := lookup(name)
	if value != "" {
		return value, nil
	}
	state := "missing"
	if set {
		state = "empty"
	}
	return "", newError(CodeBadRendezvous,
		"the environment variable %s is %s: the service that starts this program sets it; "+
			"to try it by hand, set %s to its server's out path and %s to its in path", name, state, EnvIn, EnvOut)
}
