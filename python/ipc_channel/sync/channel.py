"""The two interfaces of a blocking channel, and their implementation for all transports.

A blocking channel is an end of :mod:`ipc_channel.aio` with a driver. ``connect`` and
``close`` run the coroutines of that end; ``read`` and ``write`` use its session directly,
since for a small message a coroutine costs more than all that is done for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.session import Session
from ipc_channel.channel import PIPE_CONN_TIMEOUT
from ipc_channel.channel import IPCChannel as AsyncServer
from ipc_channel.errors import ConnectTimeoutError, EndReason, IPCChannelError
from ipc_channel.introspection import OwnNames
from ipc_channel.options import LONGEST, check_seconds
from ipc_channel.sync.driver import Driver
from ipc_channel.sync.reading import lone_reader, read, read_queued
from ipc_channel.sync.writing import write, write_at_once, write_many

if TYPE_CHECKING:
    from typing_extensions import Buffer


class IPCChannelClient(metaclass=OwnNames):
    """One end of a blocking channel: the client, which is told its rendezvous.

    ``with channel:`` connects and closes; it raises ConnectTimeoutError if no peer connects
    within 10 s. ``for message in channel:`` reads until an orderly end.

    Any number of threads may use a channel at once. Between calls nothing runs: what
    arrives waits in the kernel, a server does not turn away other clients, and no end is
    noticed; the next call does that.
    """

    def __init__(self, driver: Driver, end: Endpoint) -> None:
        if not isinstance(driver, Driver):
            raise TypeError(
                f"{type(self).__name__} cannot be constructed by itself; call"
                " ipc_channel.sync.make_ipc_channel() or make_ipc_channel_client()"
            )
        self._end = end
        self._driver = driver
        self._use = self._driver.acquire()
        self._read_session: Session | None = None
        self._read_alone: Callable[[], bytes | None]  # reads in that session

    def connect(self, timeout: float | None = PIPE_CONN_TIMEOUT) -> bool:
        """Wait until the other end is there (spec/rendezvous.md).

        ``timeout`` is in seconds; 0 tries once, None waits without limit. Returns True once
        connected, at once if the channel already is. Returns False if no peer connected
        within the timeout, after which you may call it again, or if the channel was closed
        meanwhile.
        After a session has ended it waits for the next peer, and drops the messages
        that were not read. If it is interrupted just as a peer connects, that session is
        not lost: the next call returns True for it.

        Raises BadRendezvousError if the rendezvous can never work,
        ConnectInProgressError, ChannelClosedError or WrongProcessError on misuse, and
        ValueError or TypeError for an invalid timeout.
        """
        return self._driver.run(self._end.connect(LONGEST if timeout is None else timeout))

    def write(self, data: Buffer, timeout: float | None = None) -> None:
        """Send ``data``, any bytes-like object of 1 byte or more, as one message.

        Returns once the kernel has all of it; waits while the peer does not read, for
        ``timeout`` seconds or, by default, without limit. If both ends write more than the
        kernel holds while neither reads, both wait for ever: read in another thread then.

        If it is interrupted, for instance by Ctrl-C, when no byte of the message was sent,
        the message is not sent. If a part was sent, the next calls send the rest; if the
        next call is ``close``, and the peer does not read within ``linger``, the peer finds
        the message truncated.

        Raises CallTimeoutError if the message was not sent in time, and
        UnfinishedWriteError if only a part of it was: the next calls send the rest, so it
        must not be written again. Otherwise raises what
        :meth:`ipc_channel.IPCChannelClient.write` raises.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        session = self._end.session
        if session is None:
            self._refuse()
        driver = self._driver
        if type(data) is not bytes or not write_at_once(driver, session, data, timeout):
            write(driver, session, data, timeout)

    def write_many(self, messages: Iterable[Buffer], timeout: float | None = None) -> None:
        """Send several messages, which are joined: that is faster than as many ``write``.

        Returns once the kernel has all of them, or raises what :meth:`write` raises: then
        the first of the messages are sent, and the others are not. ``sent`` of a
        CallTimeoutError or UnfinishedWriteError says how many. If it is interrupted, nothing
        says how many. Messages of other threads may go in between.
        """
        if isinstance(messages, bytes | bytearray | memoryview | str):
            kind = type(messages).__name__
            raise TypeError(
                f"write_many takes several messages, such as a list, not {kind}"
            )
        if timeout is not None:
            check_seconds("timeout", timeout)
        session = self._end.session
        if session is None:
            self._refuse()
        write_many(self._driver, session, messages, timeout)

    def read(self, timeout: float | None = None) -> bytes | None:
        """Return the next message, or None at an orderly end.

        Waits for ``timeout`` seconds or, by default, without limit; 0 returns a message
        only if one has arrived. Raises CallTimeoutError if none came; a read that timed out
        or was interrupted loses nothing. ``end_reason`` distinguishes a clean end from
        the others.

        Raises TruncatedError, ResetError or FrameTooLargeError after all messages that
        arrived whole were read, and NotConnectedError before ``connect``
        (spec/session.md). Every further read reports the same end.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        session = self._end.session
        if session is None:
            return self._driver.run(self._end.read())
        message = None
        if session.inbox.messages:
            message = read_queued(self._driver, session)
        elif timeout is None:
            if session is not self._read_session:
                self._read_alone = lone_reader(self._driver, session)
                self._read_session = session
            message = self._read_alone()
        return message or read(self._driver, session, timeout)

    def close(self, timeout: float | None = None) -> None:
        """Send what was written and the close frame, then free everything.

        Waits for at most ``linger`` seconds for a peer that does not read, and for at
        most ``timeout`` seconds in all: then everything is freed as well, but
        CallTimeoutError is raised, and the peer may miss what it had not read. Legal in
        every state, any number of times, from any thread: a read that waits returns None,
        and a write that waits raises ChannelClosedError. Frees everything when interrupted,
        too.
        """
        try:
            if timeout is not None:
                check_seconds("timeout", timeout)
            self._driver.run(self._end.close(), timeout)
        finally:
            release(self)

    def disconnect(self) -> None:
        """End the session as ``close`` does, but keep the channel: it can connect again.

        Does nothing without a session.
        """
        self._driver.run(self._end.disconnect())

    def abort(self) -> None:
        """End the session at once, and keep the channel: it can connect again.

        Output that the kernel has not taken is lost, and the peer gets no close
        frame. A client that has already connected for the next session is disconnected
        as well, and has to connect again.
        """
        self._driver.call(self._end.abort)

    @property
    def connected(self) -> bool:
        """Whether the channel has a peer, and may write to it and read from it."""
        self._driver.look()
        return self._end.connected

    @property
    def end_reason(self) -> EndReason | None:
        """What ended the last session; None before the first, or with messages unread."""
        self._driver.look()
        return self._end.end_reason

    @property
    def last_exception(self) -> IPCChannelError | None:
        """The error that ended reading or, if none did, writing in the last session.

        After a ``connect`` that returned False it is a ConnectTimeoutError that says what
        was missing, unless the channel was closed meanwhile.
        """
        self._driver.look()
        return self._end.last_exception

    def _refuse(self) -> NoReturn:
        """Raise the error of a write without a session."""
        self._driver.run(self._end.write(b"\0"))
        raise AssertionError("it does raise")

    def __enter__(self) -> Self:
        """Connect; raise ConnectTimeoutError if no peer connects within the default timeout.

        It closes the channel before it raises. For another timeout, or several
        attempts, call ``connect`` instead.
        """
        try:
            if not self.connect():
                error = ConnectTimeoutError(
                    f"no peer connected within {PIPE_CONN_TIMEOUT} s;"
                    " call connect with a longer timeout"
                )
                raise self.last_exception or error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        message = self.read()
        if message is None:
            raise StopIteration
        return message

    def __repr__(self) -> str:
        return repr(self._end)

    def __getstate__(self) -> NoReturn:
        self._end.__getstate__()


class IPCChannel(IPCChannelClient):
    """One end of a blocking channel: the server, which makes the rendezvous.

    The client is told the two strings crosswise: its ``in_path`` is this
    end's ``out_path``, and its ``out_path`` this end's ``in_path``.
    """

    @property
    def in_path(self) -> str:
        """Rendezvous from which this end reads."""
        return self._server.in_path

    @property
    def out_path(self) -> str:
        """Rendezvous to which this end writes."""
        return self._server.out_path

    @property
    def _server(self) -> AsyncServer:
        assert isinstance(self._end, AsyncServer)
        return self._end


def parts_of(channel: IPCChannelClient) -> tuple[Driver, Endpoint]:
    """Return what a blocking channel consists of, for what is built upon it."""
    return channel._driver, channel._end  # noqa: SLF001  # not for users


def release(channel: IPCChannelClient) -> None:
    """Free the loop of a channel that is closed."""
    if channel._end.is_closed:  # noqa: SLF001  # or that was refused, or interrupted early
        channel._driver.release(channel._use)  # noqa: SLF001
