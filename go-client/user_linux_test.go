package ipcchannel

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// In a namespace that does not map our user, every unmapped user has the same id as ours.
//
// Covers RDV-21, RDV-38, RDV-65.
func TestUnmappedUserIsNotOurs(t *testing.T) {
	if os.Getenv("IN_USER_NAMESPACE") != "" {
		if why := whyNotOurs(uint32(os.Geteuid())); !strings.Contains(why, "stands for every user") {
			t.Fatalf("user %d is ours: %q", os.Geteuid(), why)
		}
		// Not even if the application allows that number: it stands for anyone.
		if why := whyNotTrusted(uint32(os.Geteuid()), []uint32{uint32(os.Geteuid())}); !strings.Contains(why, "stands for every user") {
			t.Fatalf("user %d is trusted: %q", os.Geteuid(), why)
		}
		return
	}
	if why := whyNotOurs(uint32(os.Geteuid())); why != "" {
		t.Fatalf("our own user is not ours: %s", why)
	}
	if whyNotOurs(uint32(os.Geteuid())+1) == "" {
		t.Fatal("another user is ours")
	}
	command := exec.Command(os.Args[0], "-test.run=^TestUnmappedUserIsNotOurs$", "-test.v")
	command.Env = append(os.Environ(), "IN_USER_NAMESPACE=1")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	output, err := command.CombinedOutput()
	if len(output) == 0 && err != nil {
		t.Skipf("NOT TESTED: no user namespace can be made: %v", err)
	}
	if err != nil || !strings.Contains(string(output), "PASS") {
		t.Fatalf("%v\n%s", err, output)
	}
}
