"""Connections that asyncio's own streams have begun."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import dispositions
from raw import Raw


@contextlib.asynccontextmanager
async def streams() -> Any:
    """Give asyncio's reader and writer of a connection, and the raw other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        sock, _ = listener.accept()
    peer = Raw(sock.fileno(), sock.fileno(), sock)
    with dispositions.without_sigpipe():
        try:
            yield reader, writer, peer
        finally:
            peer.close()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
