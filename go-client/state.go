package ipcchannel

import "cmp"

// phase is a state of the table in spec/session.md, "The states in full". The R
// and W of the table are fields of sessionState.
type phase int

const (
	phaseOpen       phase = iota // both directions work
	phaseEnded                   // the peer's direction has ended; writing goes on
	phaseUnwritable              // a write found that the peer does not read; reading goes on
	phaseResetMet                // a write met a reset; what had arrived is still to be read
	phaseRefused                 // the peer has exceeded the limit
	phaseOver                    // neither direction works
	phaseClosing                 // Close was called and waits
	phaseClosed                  // everything is freed
)

// event is what can happen to a session, apart from a frame that arrives, which
// changes no state. An event happens when a read, a write or Close notices it.
type event int

const (
	eventCloseFrame event = iota
	eventEndAtBoundary
	eventEndInsideFrame
	eventOverLimit
	eventResetOnRead
	eventResetOnWrite
	eventPeerGoneOnWrite
	eventClose
	eventAllSent
	eventLingerOver
)

// row says what an event leads to: the next phase, and the end that reads get
// from now on, or EndNone if the event does not change what they get.
type row struct {
	next phase
	end  EndReason
}

// table has the rows that change anything. Any other event leaves a session as
// it is.
var table = map[phase]map[event]row{
	phaseOpen: {
		eventCloseFrame:      {phaseEnded, EndClean},
		eventEndAtBoundary:   {phaseEnded, EndEOF},
		eventEndInsideFrame:  {phaseEnded, EndTruncated},
		eventOverLimit:       {phaseRefused, EndTooLarge},
		eventResetOnRead:     {phaseOver, EndReset},
		eventResetOnWrite:    {phaseResetMet, EndNone},
		eventPeerGoneOnWrite: {phaseUnwritable, EndNone},
		eventClose:           {phaseClosing, EndLocal},
	},
	phaseEnded: {
		eventResetOnWrite:    {phaseOver, EndNone},
		eventPeerGoneOnWrite: {phaseOver, EndNone},
		eventClose:           {phaseClosing, EndNone},
	},
	phaseUnwritable: {
		eventCloseFrame:     {phaseOver, EndClean},
		eventEndAtBoundary:  {phaseOver, EndEOF},
		eventEndInsideFrame: {phaseOver, EndTruncated},
		eventOverLimit:      {phaseOver, EndTooLarge},
		eventResetOnRead:    {phaseOver, EndReset},
		eventClose:          {phaseClosing, EndLocal},
	},
	phaseResetMet: {
		eventCloseFrame:     {phaseOver, EndClean},
		eventEndAtBoundary:  {phaseOver, EndReset}, // systems report a reset only once (SES-3)
		eventEndInsideFrame: {phaseOver, EndReset},
		eventOverLimit:      {phaseOver, EndTooLarge},
		eventResetOnRead:    {phaseOver, EndReset},
		eventClose:          {phaseClosing, EndLocal},
	},
	phaseRefused: {
		eventResetOnWrite:    {phaseOver, EndNone},
		eventPeerGoneOnWrite: {phaseOver, EndNone},
		eventClose:           {phaseClosing, EndNone},
	},
	phaseOver: {
		eventClose: {phaseClosing, EndNone},
	},
	phaseClosing: {
		eventResetOnWrite:    {phaseClosing, EndNone},
		eventPeerGoneOnWrite: {phaseClosing, EndNone},
		eventAllSent:         {phaseClosed, EndNone},
		eventLingerOver:      {phaseClosed, EndNone},
	},
	phaseClosed: {},
}

// sessionState is where a session is in the table. It does no I/O and has no
// lock. The zero value is a session that has just begun.
//
// A Channel reads more input only when it has delivered every message that has
// arrived, so the end that it notices is one that the reader has reached (SES-6).
type sessionState struct {
	phase    phase
	end      EndReason
	readErr  error // what reads return, once there is an end
	writeErr error // what writes return, once one of the directions makes them fail
	sendErr  error // why nothing more is sent, not even the close frame (SES-36)
}

// on follows the table; err is what the event makes reads or writes return.
func (s *sessionState) on(e event, err error) {
	row, changes := table[s.phase][e]
	if !changes {
		return
	}
	s.phase = row.next
	if row.end != EndNone {
		s.end, s.readErr = row.end, err
		if row.end == EndReset && e != eventResetOnRead {
			s.readErr = s.sendErr // the reset that a write met; err says how the stream ended
		}
	}
	switch e {
	case eventClose:
		s.writeErr = err // whatever has ended writing before
	case eventOverLimit:
		s.writeErr = cmp.Or(s.writeErr, err)
	case eventResetOnRead, eventResetOnWrite, eventPeerGoneOnWrite:
		s.writeErr, s.sendErr = cmp.Or(s.writeErr, err), cmp.Or(s.sendErr, err)
	case eventAllSent, eventLingerOver:
		s.sendErr = cmp.Or(s.sendErr, err)
	}
}

func (s sessionState) isClosing() bool { return s.phase >= phaseClosing }
