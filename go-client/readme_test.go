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

// snippet returns the only block of the README in this language.
func snippet(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	must(t, err)
	parts := strings.Split(string(text), "```"+language+"\n")
	if len(parts) != 2 {
		t.Fatalf("%d blocks in %s", len(parts)-1, language)
	}
	block, _, _ := strings.Cut(parts[1], "```")
	return block
}

// The program of the README builds in a module of its own, made as the README
// says, and runs.
//
// Beyond the specification: the program of the README builds and runs.
func TestReadme(t *testing.T) {
	dir := t.TempDir()
	here, err := os.Getwd()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(snippet(t, "go")), 0o600))
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("sh", "-c", strings.ReplaceAll(snippet(t, "sh"), "/path/to/clone/go-client", here))
	run("go", "build", "-o", "echo", ".")

	l := listen(t, 1)
	echo := exec.Command(filepath.Join(dir, "echo"))
	echo.Env = append(os.Environ(), EnvIn+"="+l.port, EnvOut+"="+l.port)
	var errors bytes.Buffer
	echo.Stderr = &errors
	must(t, echo.Start())
	p := l.accept()
	p.mustWrite(frameOf([]byte("hello")), frameOf(nil))
	if got := p.mustReadFrame(); string(got) != "hello" {
		t.Errorf("it answered %q", got)
	}
	p.mustEnd()
	p.close()
	if err := echo.Wait(); err != nil || errors.Len() > 0 {
		t.Errorf("it ended with %v: %s", err, &errors)
	}
}
