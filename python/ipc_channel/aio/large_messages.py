"""Names the large message that the peer may have refused when it has gone.

A peer refuses a message over its limit by closing, so the sender only sees that the
peer has gone (spec/errors.md, "Two limits"). The error then says which message may
have been too large.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE, HEADER_SIZE

JOINED = 4096
"""Size in bytes up to which a payload is joined with its neighbours in the queue."""

Piece = bytes | bytearray | memoryview
"""A part of the output that waits for the kernel."""


class LargeMessages:
    """The large messages of one session that an error may have to name."""

    def __init__(self) -> None:
        self.last = 0
        """Size of the last large message that was sent, or 0."""
        self._unfinished = 0

    def unfinished(self, queue: Sequence[Piece]) -> int:
        """Return the size of the message that was sent only in part, or 0.

        ``queue`` is the output that the kernel has not taken when the peer goes. Later
        calls return the first answer again.
        """
        if queue and not self._unfinished:
            self._unfinished = _begun_message(queue[0])
        return self._unfinished

    def hint(self, queue: Sequence[Piece], *, was_reset: bool) -> str:
        """Return what to add to an error; "" if size cannot have been the reason.

        A kernel resets a connection from which its process has not read everything. It
        may have taken all of a message over the default limit that the peer refused.
        """
        if size := self.unfinished(queue):
            what = "was sent only in part"
        elif was_reset or self.last > DEFAULT_MAX_MESSAGE_SIZE:
            size, what = self.last, "may not have been read"
        if not size:
            return ""
        return (
            f"; a message of {size} bytes {what}: if the peer's max_message_size is"
            " smaller than that, raise it at both ends"
        )


def _begun_message(left: Piece) -> int:
    """Return the size of the large message of which ``left`` is the rest, or 0.

    The header of a large message was a buffer of its own, and has been written. Small
    frames are in a bytearray, or smaller.
    """
    buffer = left.obj if isinstance(left, memoryview) else left
    assert isinstance(buffer, bytes | bytearray)
    large = isinstance(buffer, bytes) and len(buffer) > JOINED + HEADER_SIZE
    return len(buffer) if large else 0
