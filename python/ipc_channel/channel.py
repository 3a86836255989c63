"""The two interfaces of a channel, for those who write or type against them."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ipc_channel.errors import ConnectTimeoutError, EndReason, IPCChannelError
from ipc_channel.introspection import OwnNames

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIPE_CONN_TIMEOUT: Final = 10.0
"""Seconds that ``connect`` waits for the other end unless told otherwise."""


class IPCChannelClient(metaclass=OwnNames):
    """One end of a channel: the client, which is told its rendezvous.

    Besides the four methods, ``async with channel:`` connects and closes, and
    ``async for message in channel:`` reads until an orderly end.
    """

    @abstractmethod
    async def connect(self, timeout: float = PIPE_CONN_TIMEOUT) -> bool:
        """Wait until the other end is there (spec/rendezvous.md).

        ``timeout`` is in seconds; 0 tries once. Returns True, or False when
        nobody came within the timeout, after which it may be called again, or
        the channel was closed meanwhile. While connected it returns True at
        once. After a session has ended it waits for the next peer, and what
        was left unread is dropped. A peer that is found just as it is
        cancelled is not lost: the next call has it.

        Raises BadRendezvousError if the rendezvous can never work,
        ConnectInProgressError, ChannelClosedError, WrongLoopError or
        WrongProcessError on misuse, ValueError or TypeError for a timeout that is no duration.
        """

    @abstractmethod
    async def write(self, data: Buffer) -> None:
        """Send ``data``, any bytes-like object of 1 byte or more, as one message.

        Waits while the peer does not read. If cancelled, the message is sent
        whole or not at all. The same is true if a signal handler raises in it
        (KeyboardInterrupt, for instance): if what the kernel has taken is not
        known then, the session ends with SessionInterruptedError and sends
        nothing more. No other writer is left waiting, unless the event loop
        itself was interrupted as it woke its task. Any number of tasks may write.

        Raises TypeError, EmptyMessageError or MessageTooLargeError, after
        which the channel is as before; NotConnectedError or
        ChannelClosedError; WrongLoopError; PeerGoneError or ResetError once
        the peer has gone, FrameTooLargeError once it has broken the limit
        (spec/session.md).
        """

    @abstractmethod
    async def read(self) -> bytes | None:
        """Return the next message, or None at an orderly end.

        ``end_reason`` tells a clean end from others. A cancelled read loses
        nothing. An exception that a signal handler raises loses nothing either:
        if bytes may be gone, the session ends with SessionInterruptedError
        once all messages before were read. Any number of tasks may read; each
        message goes to one.

        Raises TruncatedError, ResetError or FrameTooLargeError after all
        messages that arrived whole were read, NotConnectedError before
        ``connect``, WrongLoopError in another loop than the session's
        (spec/session.md). An end is the same however often it is asked for.
        """

    @abstractmethod
    async def close(self) -> None:
        """Send what was written and the close frame, then free everything.

        Waits for at most ``linger`` seconds for a peer that does not read.
        Legal in every state, any number of times. A pending read gets None,
        a pending write ChannelClosedError; whether its message still went out,
        whole, cannot be told. There is no closing of one direction: what the
        peer sends from now on is dropped. Frees everything when cancelled, too.

        Raises WrongLoopError while another loop has the session.
        """

    async def disconnect(self) -> None:
        """End the session as ``close`` does, but keep the channel: it can connect again.

        For a peer that waits for our end before it leaves, or one that broke
        the limit. Nothing happens without a session.

        Raises WrongLoopError while another loop has the session.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """End the session at once, and keep the channel: it can connect again.

        Output that the kernel has not taken is lost, and the peer gets no close
        frame. A client that has already come for the next session is turned away
        as well, and has to come again.

        Raises WrongLoopError while another loop has the session.
        """
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether ``connect`` has a peer, and may write to it and read from it."""
        return False

    @property
    def end_reason(self) -> EndReason | None:
        """What ended the last session; None before the first, and while there is more to read.

        It is set without a ``read`` once every message that came before was read.
        """
        return None

    @property
    def last_exception(self) -> IPCChannelError | None:
        """The error that ended reading or, if none did, writing in the last session.

        ConnectTimeoutError, which says what was in the way, after a ``connect`` that
        returned False; not if that was because the channel was closed meanwhile.
        """
        return None

    async def __aenter__(self) -> Self:
        """Connect; raise ConnectTimeoutError if nobody comes within the default timeout.

        The channel is closed then. Call ``connect`` for another timeout, or to
        try again.
        """
        try:
            if not await self.connect():
                error = ConnectTimeoutError(f"nobody connected in {PIPE_CONN_TIMEOUT} s")
                raise self.last_exception or error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message = await self.read()
        if message is None:
            raise StopAsyncIteration
        return message


class IPCChannel(IPCChannelClient):
    """One end of a channel: the server, which makes the rendezvous.

    The client is given the two strings crosswise: its ``in_path`` is this
    end's ``out_path``.
    """

    @property
    @abstractmethod
    def in_path(self) -> str:
        """Rendezvous from which this end reads."""

    @property
    @abstractmethod
    def out_path(self) -> str:
        """Rendezvous to which this end writes."""
