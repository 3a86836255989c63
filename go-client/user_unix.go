//go:build unix

package ipcchannel

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// whyNotOurs says why something that belongs to a user is not ours, or returns
// "" if it is (RDV-21, RDV-38).
func whyNotOurs(user uint32) string {
	if euid := os.Geteuid(); int(user) != euid {
		return fmt.Sprintf("belongs to user %d, not to user %d", user, euid)
	}
	if isAmbiguous(user) {
		return fmt.Sprintf("belongs to user %d, which here stands for every user that this "+
			"user namespace does not map; run as a user that it maps", user)
	}
	return ""
}

// isAmbiguous reports whether a user id may stand for any user that our
// namespace does not map: the kernel shows all of them with one number, which
// may be that of a user of the namespace as well.
func isAmbiguous(user uint32) bool {
	overflow := uint64(65534)
	if text, err := os.ReadFile("/proc/sys/kernel/overflowuid"); err == nil {
		overflow, _ = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	}
	return uint64(user) == overflow && !mapsAllUsers()
}

// mapsAllUsers reports whether nobody is unmapped, as in the first namespace and
// on systems that have none.
func mapsAllUsers() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return os.IsNotExist(err)
	}
	const all = 1<<32 - 1 // all ids but the one that is none
	mapped := uint64(0)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 {
			count, _ := strconv.ParseUint(fields[2], 10, 32)
			mapped += count
		}
	}
	return mapped >= all
}
