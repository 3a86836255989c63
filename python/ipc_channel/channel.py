"""The two interfaces of a channel: for implementations, and for type annotations."""

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

    ``async with channel:`` connects and closes; ``async for message in channel:`` reads
    until an orderly end.
    """

    @abstractmethod
    async def connect(self, timeout: float = PIPE_CONN_TIMEOUT) -> bool:
        """Wait until the other end is there (spec/rendezvous.md).

        ``timeout`` is in seconds; 0 tries once. Returns True once connected, at once if
        the channel already is. Returns False if no peer connected within the timeout,
        after which you may call it again, or if the channel was closed meanwhile.
        After a session has ended it waits for the next peer, and drops the messages
        that were not read. If it is cancelled just as a peer connects, that
        session is not lost: the next call returns True for it.

        Raises BadRendezvousError if the rendezvous can never work,
        ConnectInProgressError, ChannelClosedError, WrongLoopError or
        WrongProcessError on misuse, and ValueError or TypeError for an invalid timeout.
        """

    @abstractmethod
    async def write(self, data: Buffer) -> None:
        """Send ``data``, any bytes-like object of 1 byte or more, as one message.

        Waits while the peer does not read. If cancelled, the message is sent
        whole or not at all. Any number of tasks may write.

        If a signal handler raises in it (KeyboardInterrupt, for instance), no message
        is split or sent twice: when the session cannot tell how much the kernel has
        taken, it ends with SessionInterruptedError and sends nothing more. It wakes
        all other writers; only if the handler interrupted the event loop itself may
        the loop have lost a task that it was about to run.

        Raises TypeError, EmptyMessageError or MessageTooLargeError, which leave the
        channel unchanged; NotConnectedError or ChannelClosedError; WrongLoopError;
        PeerGoneError or ResetError once the peer has gone, FrameTooLargeError once it
        has exceeded the limit (spec/session.md).
        """

    @abstractmethod
    async def read(self) -> bytes | None:
        """Return the next message, or None at an orderly end.

        ``end_reason`` distinguishes a clean end from the others. A cancelled read loses
        nothing. If an exception from a signal handler may have lost bytes, reads return
        the messages before them, and then raise SessionInterruptedError. Any number of
        tasks may read; each message goes to one task.

        Raises TruncatedError, ResetError or FrameTooLargeError after all
        messages that arrived whole were read, NotConnectedError before
        ``connect``, WrongLoopError in another loop than the session's
        (spec/session.md). Every further read reports the same end.
        """

    @abstractmethod
    async def close(self) -> None:
        """Send what was written and the close frame, then free everything.

        Waits for at most ``linger`` seconds for a peer that does not read.
        Legal in every state, any number of times. A pending read returns None, a
        pending write raises ChannelClosedError, and its message was sent either whole
        or not at all. It is not a half-close: what the peer sends from now on is
        dropped. Frees everything when cancelled, too.

        Raises WrongLoopError while another loop has the session.
        """

    async def disconnect(self) -> None:
        """End the session as ``close`` does, but keep the channel: it can connect again.

        Call it if the peer waits for this end to close before it exits, or if the peer
        has exceeded the limit. Does nothing without a session.

        Raises WrongLoopError while another loop has the session.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """End the session at once, and keep the channel: it can connect again.

        Output that the kernel has not taken is lost, and the peer gets no close
        frame. A client that has already connected for the next session is disconnected
        as well, and has to connect again.

        Raises WrongLoopError while another loop has the session.
        """
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether the channel has a peer, and may write to it and read from it."""
        return False

    @property
    def end_reason(self) -> EndReason | None:
        """What ended the last session; None before the first, or with messages unread.

        Once every message before the end has been read, it is set as soon as the end
        arrives, without another ``read``.
        """
        return None

    @property
    def last_exception(self) -> IPCChannelError | None:
        """The error that ended reading or, if none did, writing in the last session.

        After a ``connect`` that returned False it is a ConnectTimeoutError that says what
        was missing, unless the channel was closed meanwhile.
        """
        return None

    async def __aenter__(self) -> Self:
        """Connect; raise ConnectTimeoutError if no peer connects within the default timeout.

        It closes the channel before it raises. For another timeout, or several
        attempts, call ``connect`` instead.
        """
        try:
            if not await self.connect():
                error = ConnectTimeoutError(
                    f"no peer connected within {PIPE_CONN_TIMEOUT} s;"
                    " call connect with a longer timeout"
                )
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

    The client is told the two strings crosswise: its ``in_path`` is this
    end's ``out_path``, and its ``out_path`` this end's ``in_path``.
    """

    @property
    @abstractmethod
    def in_path(self) -> str:
        """Rendezvous from which this end reads."""

    @property
    @abstractmethod
    def out_path(self) -> str:
        """Rendezvous to which this end writes."""
