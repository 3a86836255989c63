"""What is known of large messages when the peer has gone.

A peer refuses a message over its limit by closing, so all that the sender sees is that
the peer has gone (spec/errors.md, "Two limits"). The error then says which message may
have been too large.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE, HEADER_SIZE

JOINED = 4096
"""Size up to which a payload is joined with what is beside it, in bytes."""

Piece = bytes | bytearray | memoryview
"""A part of the output that waits for the kernel."""


class LargeMessages:
    """The large messages of one session, as far as an error has to tell of them."""

    def __init__(self) -> None:
        self.last = 0
        """Size of the last one that was sent, or 0."""
        self._unfinished = 0

    def unfinished(self, queue: Sequence[Piece]) -> int:
        """Return the size of the message that had passed only in part, or 0.

        ``queue`` is what the kernel has not taken as the peer goes; asked again later,
        the answer stays what it was first.
        """
        if queue and not self._unfinished:
            self._unfinished = _begun_message(queue[0])
        return self._unfinished

    def hint(self, queue: Sequence[Piece], *, was_reset: bool) -> str:
        """Return what to add to an error; "" if size cannot have been the reason.

        A peer resets a connection from which it has not read everything. Of a message
        over the default limit, the kernel may have taken all and the peer dropped most.
        """
        if size := self.unfinished(queue):
            what = "had passed only in part"
        elif was_reset or self.last > DEFAULT_MAX_MESSAGE_SIZE:
            size, what = self.last, "may not have been read"
        if not size:
            return ""
        return (
            f"; a message of {size} bytes {what}: if the peer's max_message_size is"
            " smaller than that, raise it at both ends"
        )


def _begun_message(left: Piece) -> int:
    """Return the size of the large message that ``left`` is the rest of, or 0.

    Its header was a buffer of its own, and has gone. Small frames are in a bytearray,
    or are smaller than that.
    """
    buffer = left.obj if isinstance(left, memoryview) else left
    assert isinstance(buffer, bytes | bytearray)
    large = isinstance(buffer, bytes) and len(buffer) > JOINED + HEADER_SIZE
    return len(buffer) if large else 0
