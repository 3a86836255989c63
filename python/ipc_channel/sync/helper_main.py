"""The main function of a helper without asyncio."""

from __future__ import annotations

import inspect
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Unpack

from ipc_channel import fork
from ipc_channel.channel import PIPE_CONN_TIMEOUT
from ipc_channel.errors import (
    ChannelClosedError,
    EndReason,
    IPCChannelError,
    PeerGoneError,
    ResetError,
)
from ipc_channel.helper_side import (
    ENDING,
    LOOK_FOR_END,
    check_end,
    check_taken,
    explained,
    first_signal,
)
from ipc_channel.options import Options
from ipc_channel.protocol.rendezvous import from_environment
from ipc_channel.sync.channel import IPCChannelClient, parts_of
from ipc_channel.sync.factory import make_ipc_channel_client


def run_helper(
    main: Callable[[IPCChannelClient], object],
    *,
    timeout: float | None = PIPE_CONN_TIMEOUT,
    allowed_users: Iterable[int | str] = (),
    **options: Unpack[Options],
) -> None:
    """Do everything that a helper needs apart from its own work, which ``main`` does.

    Connects to the service that has started this program, calls ``main(channel)``, and
    closes the channel. The exit status of the program then tells the service how it went::

        def echo(channel):
            for message in channel:
                channel.write(message)

        run_helper(echo)

    What it returns and raises, and what it does at signals, is described in
    :func:`ipc_channel.run_helper`. To learn of a signal while ``main`` waits for something
    else, read in another thread. It must be called in the main thread.
    """
    with explained():
        channel = make_ipc_channel_client(
            *from_environment(), allowed_users=allowed_users, **options
        )
        try:
            with _stopping_at_signal(channel) as stopped:
                if _connect(channel, timeout, stopped):
                    _serve(main, channel, stopped)
        finally:
            channel.close()
        check_taken(parts_of(channel)[1].session)


def _connect(
    channel: IPCChannelClient, timeout: float | None, stopped: threading.Event
) -> bool:
    """Return whether to serve: False if a signal came before."""
    try:
        connected = channel.connect(timeout)
    except ChannelClosedError:
        if not stopped.is_set():
            raise
        return False
    if not (connected or stopped.is_set()):
        assert channel.last_exception is not None
        raise channel.last_exception
    return not stopped.is_set()


def _serve(
    main: Callable[[IPCChannelClient], object],
    channel: IPCChannelClient,
    stopped: threading.Event,
) -> None:
    try:
        if inspect.iscoroutine(work := main(channel)):
            work.close()
            raise TypeError(
                "main is a coroutine function, or calls one: use ipc_channel.run_helper, or"
                " what ipc_channel.sync has"
            )
    except (PeerGoneError, ResetError):
        if not (stopped.is_set() or _was_closed(channel)):
            raise
    check_end(channel.end_reason, channel.last_exception)


def _was_closed(channel: IPCChannelClient) -> bool:
    """Whether the service has closed its channel, after a write has failed."""
    try:
        while channel.read(LOOK_FOR_END) is not None:
            pass
    except IPCChannelError:
        return False
    return channel.end_reason is EndReason.CLEAN


@contextmanager
def _stopping_at_signal(channel: IPCChannelClient) -> Iterator[threading.Event]:
    """End the reads of ``channel`` at the first signal, and set the event.

    A thread does that: a signal handler may have interrupted the channel anywhere, and on
    Windows it runs only once the read has returned.
    """
    stopped = threading.Event()
    ours, kernels = fork.hold_pair()
    with ours, kernels, _woken_by_signals(kernels):
        ours.setblocking(True)
        thread = threading.Thread(
            target=_wait_and_stop, args=[ours, channel, stopped], daemon=True
        )
        thread.start()
        try:
            with first_signal(lambda: None):
                yield stopped
        finally:
            kernels.shutdown(socket.SHUT_WR)  # ends the thread
            thread.join()


@contextmanager
def _woken_by_signals(sock: socket.socket) -> Iterator[None]:
    """Have the number of each signal written to ``sock``; not in a forked child."""
    former = signal.set_wakeup_fd(sock.fileno(), warn_on_full_buffer=False)
    fork.in_child(token := _Token(), lambda _: signal.set_wakeup_fd(-1))
    try:
        yield
    finally:
        del token
        signal.set_wakeup_fd(former)


class _Token:
    """Stands for the time in which a forked child has something to undo."""


def _wait_and_stop(
    signals: socket.socket, channel: IPCChannelClient, stopped: threading.Event
) -> None:
    while number := signals.recv(1):
        if number[0] in ENDING:
            stopped.set()
            _stop(channel)
            return


def _stop(channel: IPCChannelClient) -> None:
    driver, end = parts_of(channel)
    if end.session is None:
        channel.close()  # makes connect return
    else:
        driver.call(end.session.stop_delivering)
