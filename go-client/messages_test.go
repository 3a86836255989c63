package ipcchannel

import (
	"context"
	"strings"
	"testing"
)

// An error names the value and the limit, and says what to do.
//
// Covers RDV-8.
func TestMessagesOfErrors(t *testing.T) {
	missing := func(string) (string, bool) { return "", false }
	empty := func(name string) (string, bool) { return map[string]string{EnvIn: "5"}[name], true }
	tooLarge := func() error {
		d := &decoder{limit: 10}
		d.filled(copy(d.space(), []byte{0, 0, 0, 11}))
		_, err := d.next(nil)
		return err
	}
	environment := func(lookup func(string) (string, bool)) error {
		_, _, err := envRendezvous(lookup)
		return err
	}
	for text, err := range map[string]error{
		"IPC_CHANNEL_IN is missing: the service that starts this program sets it; to try it by hand, set IPC_CHANNEL_IN to its server's out path and IPC_CHANNEL_OUT to its in path": environment(missing),
		"IPC_CHANNEL_OUT is empty: the service that starts this program sets it; to try it by hand, set ":                                                                            environment(empty),
		"frame of 11 bytes exceeds the limit of 10: raise MaxMessageSize at both ends":                                                                                               tooLarge(),
		"the Channel is not connected: it must come from Dial or DialEnv":                                                                                                            new(Channel).WriteMessage(context.Background(), nil),
		"send at least 1 byte":         ErrEmptyMessage,
		"dial again for a new session": ErrClosed,
		"raise Linger":                 (&Channel{linger: 1}).tookNothing(),
	} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not say %q", err, text)
		}
	}
}
