package ipcchannel

import (
	"context"
	"strings"
)

// maxPath is the longest path in bytes that Linux takes, its final NUL apart.
const maxPath = 4095

// namedPipe is the transport over two named pipes. What is in a pipe stays there
// for the peer when this end is closed.
var namedPipe = &transportType{
	name:       "named_pipe",
	form:       "an absolute path",
	recognises: func(s string) bool { return strings.HasPrefix(s, "/") },
	parse:      parsePaths,
}

// pipePaths are the two named pipes of a rendezvous.
type pipePaths struct{ in, out string }

func (p pipePaths) dial(ctx context.Context, _ *Options, wait *pacing) (stream, error) {
	return dialPipes(ctx, p.in, p.out, wait)
}

func parsePaths(in, out string) (endpoint, error) {
	for _, path := range []string{in, out} {
		if len(path) > maxPath {
			return nil, newError(CodeBadRendezvous, "a path of %d bytes exceeds the limit of %d bytes: use a shorter one", len(path), maxPath)
		}
		if strings.IndexByte(path, 0) >= 0 {
			return nil, newError(CodeBadRendezvous, "path %q contains a NUL byte, which no file name can have", path)
		}
	}
	if in == out {
		return nil, newError(CodeBadRendezvous, "in and out are the same path %q: a rendezvous of named pipes needs two", in)
	}
	return pipePaths{in: in, out: out}, nil
}
