package ipcchannel

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// isAccepted reports whether a process holds the other end of a loopback
// connection, or has held it. Until then it waits in a listener's queue, and
// the server cannot tell whose we are once we have left (RDV-42).
func isAccepted(local, remote netip.AddrPort) bool {
	name := "/proc/net/tcp"
	if local.Addr().Unmap().Is6() {
		name += "6"
	}
	table, err := os.Open(name)
	if err != nil {
		return false // it cannot be known
	}
	defer table.Close()
	ends := [2]string{inTable(remote), inTable(local)} // as the server has them
	rows := bufio.NewScanner(table)
	for rows.Scan() {
		row := strings.Fields(rows.Text())
		if len(row) > 9 && row[1] == ends[0] && row[2] == ends[1] {
			return row[9] != "0" // the inode
		}
	}
	return rows.Err() == nil // it has gone
}

// inTable returns an address as the table has it: words of 32 bits in the
// machine's byte order.
func inTable(addr netip.AddrPort) string {
	var text strings.Builder
	for octets := addr.Addr().Unmap().AsSlice(); len(octets) > 0; octets = octets[4:] {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(octets))
	}
	fmt.Fprintf(&text, ":%04X", addr.Port())
	return text.String()
}
