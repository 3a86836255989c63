package ipcchannel

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// isAccepted reports whether a process holds the other end of a loopback
// connection, or has held it. Until then the connection waits in the queue of a
// listener. If the client closed its socket now, the kernel could no longer tell the
// server which user owned it, and the server would refuse the connection (RDV-48).
func isAccepted(local, remote netip.AddrPort) bool {
	if local.Addr().Unmap().Is4() {
		inode, err := inodeOf("/proc/net/tcp", inTable(remote, 4), inTable(local, 4))
		if inode != "" || err != nil {
			return err == nil && inode != "0"
		}
		// No row: the server may listen on an IPv6 socket that takes both versions.
	}
	inode, err := inodeOf("/proc/net/tcp6", inTable(remote, 16), inTable(local, 16))
	// No row in a table that could be read: the other end has gone.
	return (err == nil || errors.Is(err, os.ErrNotExist)) && inode != "0"
}

// inodeOf returns the inode that a table of the kernel shows for the socket with these
// addresses: "0" if no process holds the socket, "" if the table has no such socket.
func inodeOf(name, local, remote string) (string, error) {
	table, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer table.Close()
	rows := bufio.NewScanner(table)
	for rows.Scan() {
		row := strings.Fields(rows.Text())
		if len(row) > 9 && row[1] == local && row[2] == remote {
			return row[9], nil
		}
	}
	return "", rows.Err()
}

// inTable returns an address of size octets in the notation of the table: words of 32
// bits in the machine's byte order.
func inTable(addr netip.AddrPort, size int) string {
	var text strings.Builder
	octets := addr.Addr().As16()
	for octets := octets[16-size:]; len(octets) > 0; octets = octets[4:] {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(octets))
	}
	fmt.Fprintf(&text, ":%04X", addr.Port())
	return text.String()
}
