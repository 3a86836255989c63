//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Beyond the specification: how a Channel shows itself in text and logs.
func TestChannelTellsWhatItIs(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		c, p := tr.open(t, &Options{MaxMessageSize: 5, Linger: 20 * time.Millisecond})
		where := fmt.Sprintf("in %s, out %s, max message size 5, linger 20ms)", c.from, c.to)
		if c.from == "" || c.to == "" {
			t.Error("it has forgotten where it leads")
		}
		check := func(state string) {
			t.Helper()
			want := "ipcchannel.Channel(" + state + ", " + where
			for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
				if got := fmt.Sprintf(verb, c); got != want {
					t.Errorf("%s gives %s, not %s", verb, got, want)
				}
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "channel", c)
			for _, part := range []string{"channel.in=" + c.from, "channel.max_message_size=5", state} {
				if !strings.Contains(log.String(), part) {
					t.Errorf("the log is %s", &log)
				}
			}
		}
		check("connected")
		p.mustWrite(frameOf(nil))
		mustEndWith(t, c, EndClean, io.EOF)
		check("connected, ended: clean")
		p.close()
		must(t, c.Close())
		check("closed, ended: clean")
	})
	if got := fmt.Sprint(new(Channel)); got != "ipcchannel.Channel(not connected)" {
		t.Error(got)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "channel", new(Channel))
	if !strings.Contains(log.String(), `channel.state="not connected"`) {
		t.Errorf("the log is %s", &log)
	}
}
