package ipcchannel

import (
	"net"
	"syscall"
)

// verifyServer compares the socket before and after: package syscall has no
// LOCAL_PEERCRED.
func (c *unixConnector) verifyServer(conn *net.UnixConn, seen *syscall.Stat_t) error {
	return c.verifyIdentity(conn, seen)
}

// changeTime is when the file, its owner or its mode was last changed.
func changeTime(st *syscall.Stat_t) syscall.Timespec { return st.Ctimespec }
