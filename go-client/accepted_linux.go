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
// connection, or has held it. Until then it waits in a listener's queue, and
// the server cannot tell whose we are once we have left (RDV-48).
func isAccepted(local, remote netip.AddrPort) bool {
	if local.Addr().Unmap().Is4() {
		inode, err := inodeOf("/proc/net/tcp", inTable(remote, 4), inTable(local, 4))
		if inode != "" || err != nil {
			return err == nil && inode != "0"
		}
		// Or the server listens for both versions.
	}
	inode, err := inodeOf("/proc/net/tcp6", inTable(remote, 16), inTable(local, 16))
	// Without a row it has gone, where that can be known.
	return (err == nil || errors.Is(err, os.ErrNotExist)) && inode != "0"
}

// inodeOf returns the inode of the socket with these addresses in a table of the
// kernel's; it is 0 for one that nobody holds, and "" if there is none.
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

// inTable returns an address of so many octets as the table has it: words of 32
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
