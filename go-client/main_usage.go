package ipcchannel

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

// usage returns what Main tells somebody who has started a helper by hand: missing says
// which environment variable there is not.
func usage(args []string, missing error) string {
	name, python := programName(args), "python3"
	if runtime.GOOS == "windows" {
		python = "python"
	}
	return fmt.Sprintf(`%s: this program is a helper, started by a service: %s and %s tell it where the service is.
%s
To try it, let Python start it, send it a message and print the answer:

    %s -c %s
`, name, EnvIn, EnvOut, reason(missing), python, shellQuoted(trial(args)))
}

// reason returns which variable is missing, as a sentence.
func reason(missing error) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(missing.Error(), "ipcchannel: the "), ":")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// trial returns a Python program that starts a helper and exchanges one message with it.
func trial(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = pythonQuoted(word)
	}
	return "from ipc_channel.sync import Helper; helper = Helper([" + strings.Join(words, ", ") + "]); " +
		"channel = helper.start(); channel.write(b'hello'); print(channel.read()); helper.stop()"
}

// pythonQuoted returns a string literal of Python. Single quotes leave the double ones to
// the shell.
func pythonQuoted(text string) string {
	quoted := strconv.Quote(text)
	inner := strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	return "'" + strings.ReplaceAll(inner, "'", `\'`) + "'"
}

// shellQuoted quotes one argument for a POSIX shell, or for Windows.
func shellQuoted(text string) string {
	special := []string{`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`"}
	if runtime.GOOS == "windows" {
		special = []string{`"`, `\"`}
	}
	return `"` + strings.NewReplacer(special...).Replace(text) + `"`
}
