"""What channels over sockets have in common, whatever the family."""

from __future__ import annotations

import asyncio
import functools
from abc import abstractmethod

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.timing import backoff
from ipc_channel.channel import IPCChannel
from ipc_channel.transports.listener import Listener
from ipc_channel.transports.socket_stream import SocketStream


class SocketServer(Endpoint, IPCChannel):
    """A server that listens from construction to ``close``."""

    _listener: Listener
    _stream_type: type[SocketStream] = SocketStream

    async def _open(self, deadline: float) -> SocketStream:
        del deadline  # a client that connects too late waits in the listener's queue
        loop = asyncio.get_running_loop()
        try:
            sock = await self._listener.accept(loop)
        finally:
            self._last_attempt = self._listener.refusals.summary() or (
                "no client connected; check that it is running, and that both of its paths"
                f" are {self.in_path!r}"
            )
        stream = self._stream_type(loop, sock)
        # Not a method of ours: the session would keep a channel alive that is dropped.
        stream.on_end = functools.partial(self._listener.on_session_end, loop)
        self._listener.reject_others(stream)
        return stream

    def _holds_something(self) -> bool:
        return hasattr(self, "_listener")  # not if construction failed

    def _forget_peer(self) -> None:
        self._listener.forget()

    def _dispose(self) -> None:
        self._listener.close()


class SocketClient(Endpoint):
    """A client that tries again and again until the server is there."""

    async def _open(self, deadline: float) -> SocketStream | None:
        loop = asyncio.get_running_loop()
        stream = await self._attempt(loop)
        for pause in backoff(loop, deadline):
            if stream is not None:
                break
            await asyncio.sleep(pause)
            stream = await self._attempt(loop)
        return stream

    @abstractmethod
    async def _attempt(self, loop: asyncio.AbstractEventLoop) -> SocketStream | None:
        """Connect once; None if no server is there yet."""
