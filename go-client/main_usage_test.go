//go:build linux || darwin

package ipcchannel

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Beyond the specification: what a helper says that somebody has started by hand.
func TestMainExplainsItselfWithoutTheVariables(t *testing.T) {
	for _, v := range []struct{ in, said string }{{"", EnvIn + " is empty."}, {"5", EnvOut + " is missing."}} {
		helper := exec.Command(os.Args[0], "-test.run=^TestAsHelper$")
		for _, variable := range os.Environ() {
			if !strings.HasPrefix(variable, "IPC_CHANNEL_") {
				helper.Env = append(helper.Env, variable)
			}
		}
		helper.Env = append(helper.Env, "IPCCHANNEL_TEST_MAIN=echo", EnvIn+"="+v.in)
		said, _ := helper.CombinedOutput()
		if status := helper.ProcessState.ExitCode(); status != statusUsage {
			t.Errorf("status %d", status)
		}
		for _, part := range []string{
			programName(os.Args) + ": this program is a helper, started by a service",
			"Environment variable " + v.said,
			"', '-test.run=^TestAsHelper\\$'])",
		} {
			if !strings.Contains(string(said), part) {
				t.Errorf("%s\ndoes not say %q", said, part)
			}
		}
	}
}

// Beyond the specification: the command line that Main shows is quoted.
func TestTrialIsQuoted(t *testing.T) {
	got := trial([]string{`it's`, `a"b\c`, "tab\t"})
	if want := `Helper(['it\'s', 'a"b\\c', 'tab\t'])`; !strings.Contains(got, want) {
		t.Errorf("%s does not have %s", got, want)
	}
	out, err := exec.Command("sh", "-c", "printf %s "+shellQuoted("a$b`c\\d\"e'")).Output()
	if string(out) != "a$b`c\\d\"e'" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}
