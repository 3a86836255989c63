package ipcchannel

import (
	"os/exec"
	"strings"
	"testing"
)

// listedByChild returns the descriptors, by what they lead to, that a program started now holds.
func listedByChild(t *testing.T) map[string]bool {
	t.Helper()
	cmd := exec.Command("find", "/proc/self/fd", "-type", "l", "-printf", "%l\n")
	cmd.Stderr = nil
	out, _ := cmd.Output() // its status tells of the descriptor for looking, which is gone by then
	listed := map[string]bool{}
	for _, line := range strings.Fields(string(out)) {
		listed[line] = true
	}
	if len(listed) == 0 {
		t.Fatal("the child has listed nothing")
	}
	return listed
}

// A child that inherited the descriptors would keep the session open after our end.
//
// Beyond the specification: a child process does not keep the session open.
func TestChildInheritsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, nil)
		p.mustWrite(frameOf([]byte("x")))
		mustRead(t, c, []byte("x"))
		for target := range listedByChild(t) {
			if strings.HasPrefix(target, "socket:") || strings.HasSuffix(target, "/in") || strings.HasSuffix(target, "/out") {
				t.Errorf("a child has inherited %s", target)
			}
		}
	})
}
