"""A connected Unix socket as a stream."""

from __future__ import annotations

import contextlib
import socket

from ipc_channel.transports.socket_stream import SocketStream

# Bytes that the kernel may hold for a peer that does not read yet. With the usual
# 208 KiB, both processes take more turns for a large message; where the system allows
# less (net.core.wmem_max), the kernel takes its own limit.
_SEND_BUFFER = 2**20


class UnixStream(SocketStream):
    """A connected Unix socket, which the stream owns from now on."""

    def _set_up(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def finish_writing(self) -> bool:
        super().finish_writing()
        return False  # the peer's kernel buffer has all, whatever this end has not read

    def _drop_input(self) -> None:
        """Read what is left, or else the peer would meet a reset behind the close frame.

        The peer can send no more, so there is at most what the kernel's buffer holds.
        """
        with contextlib.suppress(OSError):
            while self._socket.recv(_SEND_BUFFER):
                pass
