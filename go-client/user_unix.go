//go:build unix

package ipcchannel

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// whyNotOurs returns why a file of this user is not certainly ours, or "" if it is
// (RDV-21, RDV-38).
func whyNotOurs(user uint32) string {
	if euid := os.Geteuid(); int(user) != euid {
		return fmt.Sprintf("belongs to user %d, not to user %d: run as the same user as the server", user, euid)
	}
	return whyAmbiguous(user)
}

// whyNotTrusted says why a server that belongs to a user is not trusted, or returns ""
// if it is: our own user's, root's, or that of a user whom the application allows
// (RDV-65). A service that root has started may show as root's, although it runs as
// another user by now; and root could attach a debugger to this process anyway.
func whyNotTrusted(user uint32, allowed []uint32) string {
	if euid := os.Geteuid(); int(user) != euid && user != 0 && !slices.Contains(allowed, user) {
		return fmt.Sprintf("belongs to user %d, which is neither user %d nor root nor in Options.AllowedUsers: "+
			"if this server is the right one, add its user there", user, euid)
	}
	return whyAmbiguous(user)
}

// whyAmbiguous says why a user id cannot be relied on, or returns "" if it can.
func whyAmbiguous(user uint32) string {
	if !isAmbiguous(user) {
		return ""
	}
	return fmt.Sprintf("belongs to user %d, which here stands for every user that this "+
		"user namespace does not map; run as a user that it maps", user)
}

// isAmbiguous reports whether a user id may stand for a user that our namespace does not
// map. The kernel shows all of those with the same id, which may also be the id of a user
// of the namespace.
func isAmbiguous(user uint32) bool {
	overflow := uint64(65534)
	if text, err := os.ReadFile("/proc/sys/kernel/overflowuid"); err == nil {
		overflow, _ = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	}
	return uint64(user) == overflow && !mapsAllUsers()
}

// mapsAllUsers reports whether the namespace maps every user, as the first namespace
// does. Systems without namespaces count as mapping every user.
func mapsAllUsers() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return os.IsNotExist(err)
	}
	const all = 1<<32 - 1 // every id but the last, which means "no user"
	mapped := uint64(0)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 {
			count, _ := strconv.ParseUint(fields[2], 10, 32)
			mapped += count
		}
	}
	return mapped >= all
}
