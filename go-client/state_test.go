//go:build linux || darwin

package ipcchannel

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

var eventsByName = map[string]event{
	"close-frame":        eventCloseFrame,
	"end-at-boundary":    eventEndAtBoundary,
	"end-inside-frame":   eventEndInsideFrame,
	"over-limit":         eventOverLimit,
	"reset-on-read":      eventResetOnRead,
	"reset-on-write":     eventResetOnWrite,
	"peer-gone-on-write": eventPeerGoneOnWrite,
	"close":              eventClose,
	"all-sent":           eventAllSent,
	"linger-over":        eventLingerOver,
}

// errorsOfEvents is what a Channel notes with each event.
var errorsOfEvents = map[event]error{
	eventCloseFrame:      io.EOF,
	eventEndAtBoundary:   io.EOF,
	eventEndInsideFrame:  ErrTruncated,
	eventOverLimit:       ErrTooLarge,
	eventResetOnRead:     ErrReset,
	eventResetOnWrite:    newError(CodeReset, "met by a write"),
	eventPeerGoneOnWrite: ErrPeerGone,
	eventClose:           ErrClosed,
	eventAllSent:         ErrClosed,
	eventLingerOver:      ErrTimeout,
}

// sessionModel is a Channel without its stream. It notices what the peer does
// when it has delivered every message that arrived before.
type sessionModel struct {
	state   sessionState
	arrived []string // what the peer did, and no read has noticed
}

func (m *sessionModel) on(name string) {
	switch name {
	case "close":
		m.noteEvent(name)
		m.drain()
	case "reset-on-write", "peer-gone-on-write", "all-sent", "linger-over":
		m.noteEvent(name)
	default:
		m.arrived = append(m.arrived, name)
		m.notice()
	}
}

func (m *sessionModel) noteEvent(name string) {
	e, known := eventsByName[name]
	if !known {
		panic("there is no event " + name)
	}
	m.state.on(e, errorsOfEvents[e])
}

// notice handles what has arrived up to the next message.
func (m *sessionModel) notice() {
	for len(m.arrived) > 0 && (m.arrived[0] != "frame" || m.state.readErr != nil) {
		if m.arrived[0] != "frame" {
			m.noteEvent(m.arrived[0])
		}
		m.arrived = m.arrived[1:]
	}
}

// drain drops what has arrived. The write of the close frame meets a reset that
// no read has noticed.
func (m *sessionModel) drain() {
	if slices.Contains(m.arrived, "reset-on-read") {
		m.noteEvent("reset-on-write")
	}
	m.arrived = nil
}

// read says what a read returns.
func (m *sessionModel) read() string {
	switch {
	case m.state.readErr == io.EOF:
		return "end"
	case m.state.readErr == ErrClosed:
		return "local"
	case m.state.readErr != nil:
		return code(m.state.readErr)
	case len(m.arrived) > 0:
		m.arrived = m.arrived[1:]
		m.notice()
		return "message"
	}
	return "waits"
}

func (m *sessionModel) write() string {
	if m.state.writeErr == nil {
		return "sends"
	}
	return code(m.state.writeErr)
}

func (m *sessionModel) output() string {
	if m.state.sendErr == nil {
		return "sent"
	}
	return "dropped"
}

func code(err error) string {
	var e *Error
	errors.As(err, &e)
	return string(e.Code)
}

// oneOrMore is a string, null or a list of strings in JSON.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*o = oneOrMore{one}
		return nil
	}
	var more []string
	err := json.Unmarshal(data, &more)
	*o = more
	return err
}

// Covers SES-1, SES-3, SES-4, SES-5, SES-6, SES-24, SES-26, SES-30, SES-36.
func TestSessionVectors(t *testing.T) {
	var cases []struct {
		ID, Note string
		Covers   []string
		Steps    []map[string]oneOrMore
	}
	loadVectors(t, "session.json", &cases)
	for _, v := range cases {
		t.Run(v.ID, func(t *testing.T) {
			m := &sessionModel{}
			for i, step := range v.Steps {
				for kind, allowed := range step {
					if kind == "event" {
						m.on(allowed[0])
					} else if got := m.answer(t, kind); !slices.Contains(allowed, got) {
						t.Fatalf("step %d, %s: %q, not %q", i, kind, got, allowed)
					}
				}
			}
		})
	}
}

func (m *sessionModel) answer(t *testing.T, kind string) string {
	switch kind {
	case "read":
		return m.read()
	case "write":
		return m.write()
	case "output":
		return m.output()
	case "end_reason":
		return string(m.state.end)
	}
	t.Fatalf("there is no step %q", kind)
	return ""
}

// phasesOfPage are the names that session.md gives the states.
var phasesOfPage = map[string]phase{
	"open":       phaseOpen,
	"ended":      phaseEnded,
	"unwritable": phaseUnwritable,
	"reset met":  phaseResetMet,
	"refused":    phaseRefused,
	"over":       phaseOver,
	"closing":    phaseClosing,
	"closed":     phaseClosed,
}

// eventsOfPage are the names that session.md gives the events. A frame changes
// nothing.
var eventsOfPage = map[string][]event{
	"frame":                        {},
	"frame arrives":                {},
	"close frame":                  {eventCloseFrame},
	"end of stream":                {eventEndAtBoundary, eventEndInsideFrame},
	"end of stream at a boundary":  {eventEndAtBoundary},
	"end of stream inside a frame": {eventEndInsideFrame},
	"end of stream at a boundary or inside a frame": {eventEndAtBoundary, eventEndInsideFrame},
	"over-limit header":                             {eventOverLimit},
	"anything from the peer":                        {eventCloseFrame, eventOverLimit, eventEndAtBoundary, eventEndInsideFrame},
	"reset met by a read":                           {eventResetOnRead},
	"reset met by a write":                          {eventResetOnWrite},
	"peer gone met by a write":                      {eventPeerGoneOnWrite},
	"own close":                                     {eventClose},
	"all sent":                                      {eventAllSent},
	"linger over":                                   {eventLingerOver},
}

// pageRow is a row of the table in session.md for one event.
type pageRow struct {
	phase, next phase
	event       event
	end         string // the end reason, or *R* for the one from before
}

// endBefore is the end of a session in the phase.
func (r pageRow) endBefore() EndReason {
	switch r.phase {
	case phaseOpen, phaseUnwritable, phaseResetMet:
		return EndNone
	case phaseRefused:
		return EndTooLarge
	}
	return EndTruncated // which stands for every R
}

func (r pageRow) endAfter() EndReason {
	switch r.end {
	case "none":
		return EndNone
	case "*R*":
		return r.endBefore()
	}
	return EndReason(strings.Trim(r.end, "`"))
}

// loadPageRows returns the rows of the table in session.md.
func loadPageRows(t *testing.T) (rows []pageRow) {
	page, err := os.ReadFile("../spec/session.md")
	must(t, err)
	_, section, _ := strings.Cut(string(page), "## The states in full")
	for _, line := range strings.Split(section, "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 6 || cells[0] == "state" {
			continue
		}
		names, _, _ := strings.Cut(cells[1], " (")
		for _, name := range strings.Split(names, ", ") {
			events, known := eventsOfPage[name]
			if !known {
				t.Fatalf("session.md has an unknown event %q", name)
			}
			for _, e := range events {
				rows = append(rows, pageRow{parsePhase(t, cells[0]), parsePhase(t, cells[2]), e, cells[5]})
			}
		}
	}
	return rows
}

func parsePhase(t *testing.T, cell string) phase {
	name := cell
	if i := strings.IndexAny(cell, "*`,"); i >= 0 {
		name = strings.TrimSpace(cell[:i])
	}
	p, known := phasesOfPage[name]
	if !known {
		t.Fatalf("session.md has an unknown state %q", cell)
	}
	return p
}

// The vectors say what reads and writes give; the page also names the states.
//
// Covers SES-1, SES-5, SES-6.
func TestTableIsThatOfThePage(t *testing.T) {
	type key struct {
		phase phase
		event event
	}
	onPage := map[key]bool{}
	for _, r := range loadPageRows(t) {
		onPage[key{r.phase, r.event}] = true
		s := sessionState{phase: r.phase, end: r.endBefore()}
		s.on(r.event, errorsOfEvents[r.event])
		if s.phase != r.next || s.end != r.endAfter() {
			t.Errorf("%+v leads to state %d with the end %q, not %q", r, s.phase, s.end, r.endAfter())
		}
	}
	for p, byEvent := range table {
		for e := range byEvent {
			if !onPage[key{p, e}] {
				t.Errorf("session.md has no row for event %d in state %d", e, p)
			}
		}
	}
}
