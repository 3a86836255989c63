package ipcchannel

import (
	"context"
	"strings"
)

// maxSocketPath is the longest path of a Unix socket in bytes that every system
// takes: the name of a socket has 104 bytes on macOS, its final NUL included.
const maxSocketPath = 103

const unixPrefix = "unix:"

// unixSocket is the transport over a Unix socket. What this end has written is in the
// peer's receive buffer, and the kernel hands it over before it reports any end.
var unixSocket = &transportType{
	name: "unix",
	form: "unix: and an absolute path",
	// Without the slash it could be a name in Linux's abstract namespace, which any
	// user can take.
	recognises: func(s string) bool { return strings.HasPrefix(s, unixPrefix+"/") },
	parse:      parseSocketPath,
}

// socketPath is the path of a Unix socket.
type socketPath string

func (path socketPath) dial(ctx context.Context, opts *Options, wait *pacing) (stream, error) {
	return dialUnix(ctx, string(path), opts.AllowedUsers, wait)
}

// parseSocketPath takes two strings that begin with unix:/.
func parseSocketPath(in, out string) (endpoint, error) {
	if in != out {
		return nil, newError(CodeBadRendezvous, "in %q and out %q must be the same string for a Unix socket", in, out)
	}
	path := strings.TrimPrefix(in, unixPrefix)
	if len(path) > maxSocketPath {
		return nil, newError(CodeBadRendezvous,
			"the path of a Unix socket has %d bytes, which exceeds the limit of %d: let the server use a shorter one",
			len(path), maxSocketPath)
	}
	if strings.IndexByte(path, 0) >= 0 {
		return nil, newError(CodeBadRendezvous, "path %q contains a NUL byte", path)
	}
	return socketPath(path), nil
}
