//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// snippets returns the blocks of the README in this language.
func snippets(t *testing.T, language string, count int) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	must(t, err)
	var blocks []string
	for _, part := range strings.Split(string(text), "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) != count {
		t.Fatalf("%d blocks in %s, not %d", len(blocks), language, count)
	}
	return blocks
}

// The programs of the README build in a module of their own, made as the README
// says, and run.
//
// Beyond the specification: the programs of the README build and run.
func TestReadme(t *testing.T) {
	dir := t.TempDir()
	here, err := os.Getwd()
	must(t, err)
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("sh", "-c", strings.ReplaceAll(snippets(t, "sh", 1)[0], "/path/to/clone/go-client", here))
	programs := snippets(t, "go", 2)
	for i, exchange := range []struct{ message, answer string }{
		{"hello", "hello"},
		{"\x11\x00\x00\x00\x01", "\x13\x00\x00\x00\x01\x05emptythere is nothing to hash"},
	} {
		must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(programs[i]), 0o600))
		run("go", "build", "-o", "helper", ".")
		testHelper(t, filepath.Join(dir, "helper"), exchange.message, exchange.answer)
	}
}

// testHelper starts a helper, and expects an answer to a message.
func testHelper(t *testing.T, program, message, answer string) {
	t.Helper()
	l := listen(t, 1)
	helper := exec.Command(program)
	helper.Env = append(os.Environ(), EnvIn+"="+l.port, EnvOut+"="+l.port)
	var errors bytes.Buffer
	helper.Stderr = &errors
	must(t, helper.Start())
	p := l.accept()
	p.mustWrite(frameOf([]byte(message)))
	if got := p.mustReadFrame(); string(got) != answer {
		t.Errorf("it answered %q", got)
	}
	p.mustWrite(frameOf(nil))
	p.mustEnd()
	p.close()
	if err := helper.Wait(); err != nil || errors.Len() > 0 {
		t.Errorf("it ended with %v: %s", err, &errors)
	}
}
