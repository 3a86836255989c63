package ipcchannel

import (
	"cmp"
	"fmt"
	"net"
	"syscall"
)

// verifyServer asks the kernel which user the server belonged to when it began to
// listen.
func (c *unixConnector) verifyServer(conn *net.UnixConn, _ *syscall.Stat_t) error {
	var server *syscall.Ucred
	var failure error
	err := withDescriptor(conn, func(fd uintptr) {
		server, failure = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := cmp.Or(err, failure); err != nil {
		return fmt.Errorf("ipcchannel: cannot ask for the user of the server at %q: %w", c.path, err)
	}
	if why := whyNotTrusted(server.Uid, c.allowed); why != "" {
		return newError(CodeBadRendezvous, "the server at %q %s", c.path, why)
	}
	return nil
}

// changeTime is when the file, its owner or its mode was last changed.
func changeTime(st *syscall.Stat_t) syscall.Timespec { return st.Ctim }
