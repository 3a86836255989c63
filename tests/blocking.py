"""Blocking channels for tests: connected to a raw end, and used in threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, Unpack

import waiting
from ipc_channel import IPCChannelError
from ipc_channel.options import Options
from ipc_channel.sync import (
    IPCChannel,
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.sync.channel import parts_of
from ipc_channel.sync.driver import NOBODY, Driver
from raw import PATIENCE, Raw, Rendezvous, dial

_T = TypeVar("_T")


class Connect(Protocol):
    """Makes a blocking channel of ours that is connected to a raw end."""

    def __call__(
        self, **options: Unpack[Options]
    ) -> AbstractContextManager[tuple[IPCChannelClient, Raw]]: ...


class Call(Generic[_T]):
    """A call in a thread of its own, which begins at once."""

    def __init__(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> None:
        self._future: Future[_T] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(function, args, kwargs), daemon=True
        )
        self._thread.start()

    def _run(self, function: Callable[..., _T], args: Any, kwargs: Any) -> None:
        try:
            self._future.set_result(function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # for the thread that asks
            self._future.set_exception(error)

    def result(self) -> _T:
        """Return or raise what the call did, once its thread has ended."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call hangs"
        return self._future.result(0)

    def error(self) -> BaseException | None:
        """Return what the call raised, once its thread has ended."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call hangs"
        return self._future.exception(0)

    def done(self) -> bool:
        return self._future.done()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; a failure to do so in PATIENCE is one of the test."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.001)


def driver_of(channel: IPCChannelClient) -> Driver:
    return parts_of(channel)[0]


def session_of(channel: IPCChannelClient) -> Any:
    session = parts_of(channel)[1].session
    assert session is not None
    return session


def until_waiting(channel: IPCChannelClient, count: int = 1) -> None:
    """Wait until so many calls wait in ``channel``, one of which polls."""
    driver = driver_of(channel)
    eventually(lambda: len(driver.waiting) == count and driver.leader != NOBODY)


def until_blocked(channel: IPCChannelClient) -> None:
    """Wait until a write of ``channel`` waits for the peer to read."""
    session, driver = session_of(channel), driver_of(channel)

    def is_blocked() -> bool:
        full = not waiting.is_ready(session.stream.out_fd(), waiting.ROOM)
        return bool(session.sender.size and driver.waiting) and full

    eventually(is_blocked)


def make(role: str, transport: Any, directory: Path, **options: Any) -> IPCChannelClient:
    """Make a channel to which no peer will connect."""
    if role == "server":
        return make_ipc_channel(transport=transport, **options)
    if transport == "tcp":
        return make_ipc_channel_client("1", "1", **options)  # no process listens on port 1
    if transport == "unix":
        path = f"unix:/tmp/{directory.name[-40:]}/none"  # short enough, and not there
        return make_ipc_channel_client(path, path, **options)
    return make_ipc_channel_client(f"{directory}/in", f"{directory}/out", **options)


def meet(server: IPCChannel) -> Raw:
    """Connect a raw client to ``server``."""
    dialling = Call(dial, server.out_path, server.in_path)
    assert server.connect(PATIENCE)
    return dialling.result()


@contextlib.contextmanager
def connected(
    transport: str, role: str, directory: Path, **options: Unpack[Options]
) -> Iterator[tuple[IPCChannelClient, Raw]]:
    """Give our channel in ``role``, connected, and the raw other end."""
    ours: IPCChannelClient
    cleanup: Callable[[], object] = bool  # does nothing
    if role == "server":
        server = make_ipc_channel(transport=transport, **options)  # type: ignore[arg-type]  # a parameter is a plain str
        ours = server
        meeting = Call(dial, server.out_path, server.in_path)
    else:
        rendezvous = Rendezvous(transport, directory)
        cleanup = rendezvous.close
        ours = make_ipc_channel_client(rendezvous.out_path, rendezvous.in_path, **options)
        meeting = Call(rendezvous.accept)
    try:
        assert ours.connect(PATIENCE)
        peer = meeting.result()
        try:
            yield ours, peer
        finally:
            peer.close()
    finally:
        ours.close()
        cleanup()


@contextlib.contextmanager
def pair(
    transport: Any, **options: Unpack[Options]
) -> Iterator[tuple[IPCChannel, IPCChannelClient]]:
    """Give a server and its client, connected; closed at the same time, since both wait."""
    server = make_ipc_channel(transport=transport, **options)
    client = make_ipc_channel_client(server.out_path, server.in_path, **options)
    try:
        connecting = Call(client.connect, PATIENCE)
        assert server.connect(PATIENCE)
        assert connecting.result()
        yield server, client
    finally:
        closing = Call(client.close)
        server.close()
        closing.result()


def read_to_end(channel: IPCChannelClient) -> tuple[list[bytes], str | None]:
    """Return all messages, and the code of the error that came after them."""
    messages: list[bytes] = []
    try:
        messages.extend(channel)
    except IPCChannelError as error:
        return messages, error.code
    return messages, None
