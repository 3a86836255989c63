"""The other end of a channel in plain system calls: its descriptors, and how they end.

Nothing here is shared with the channel of this package, so that neither a testee nor the
package is measured by its own mistakes. A subclass sends and receives in its own way:
:class:`~ipc_channel.conformance.wire.Wire` in an event loop, the package's own tests by
calls that block.
"""

from __future__ import annotations

import os
import socket
import struct

CLOSE = bytes(4)
"""The close frame."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


def frame(payload: bytes) -> bytes:
    """Return the frame of a message."""
    return struct.pack(">I", len(payload)) + payload


class RawPeer:
    """Two descriptors, or one socket for both; a closed descriptor is -1."""

    def __init__(self, in_fd: int, out_fd: int, sock: socket.socket | None = None) -> None:
        self.in_fd = in_fd
        self.out_fd = out_fd
        self.sock = sock

    def end_writing(self) -> None:
        """End our direction only."""
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_WR)
        else:
            self._close_descriptor(self.out_fd)
            self.out_fd = -1

    def end_reading(self) -> None:
        """Close the other direction only (named pipes, Unix sockets)."""
        if self.sock is not None:
            if self.sock.family != socket.AF_UNIX:
                raise ValueError("the peer of a TCP socket does not notice that")
            self.sock.shutdown(socket.SHUT_RD)
            return
        self._close_descriptor(self.in_fd)
        self.in_fd = -1

    def reset(self) -> None:
        """Close with a reset (TCP)."""
        if self.sock is None:
            raise ValueError("a named pipe cannot be reset")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def close(self) -> None:
        """Close both directions; further calls do nothing."""
        self._close()

    def _close(self) -> None:
        for fd in {self.in_fd, self.out_fd} - {-1}:
            self._close_descriptor(fd)
        self.in_fd = self.out_fd = -1

    def _close_descriptor(self, fd: int) -> None:
        if self.sock is not None:
            self.sock.close()
        else:
            os.close(fd)
