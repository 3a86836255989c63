"""A session without I/O: the table of states, and the messages that are undelivered."""

from __future__ import annotations

from collections import deque

from ipc_channel.errors import (
    ChannelClosedError,
    FrameTooLargeError,
    IPCChannelError,
    PeerGoneError,
    ResetError,
    SessionInterruptedError,
    TruncatedError,
)
from ipc_channel.protocol.session_state import Event, SessionState

ERRORS: dict[Event, IPCChannelError] = {
    Event.END_INSIDE_FRAME: TruncatedError("header", b"\0", 4),
    Event.RESET_ON_READ: ResetError("met by a read"),
    Event.RESET_ON_WRITE: PeerGoneError("met by a write"),
    Event.PEER_GONE_ON_WRITE: PeerGoneError("met by a write"),
    Event.OVER_LIMIT: FrameTooLargeError("too large"),
    Event.CLOSE: ChannelClosedError("closed"),
    Event.INTERRUPTION: SessionInterruptedError("interrupted"),
}


class Model:
    """What an implementation answers that notices each event at once."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.state = SessionState(self.messages)

    def on_event(self, event: Event, message: bytes = b"a message") -> None:
        if event is Event.FRAME and self.state.end is None:
            self.messages.append(message)
        self.state.on(event, ERRORS.get(event))
        if event is Event.CLOSE:
            self.messages.clear()

    def read(self) -> str:
        if self.messages:
            self.messages.popleft()
            return "message"
        if self.state.read_error is not None:
            return self.state.read_error.code
        if self.state.end is None:
            return "waits"
        return "local" if self.state.end == "local" else "end"

    def write(self) -> str:
        return "sends" if self.state.write_error is None else self.state.refusal().code

    def output(self) -> str:
        return "sent" if self.state.sends and not self.state.closed else "dropped"
