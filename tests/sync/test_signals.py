"""Signal handlers that raise, or use the channel that they have interrupted."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blocking import (
    Call,
    Connect,
    driver_of,
    make,
    session_of,
    until_blocked,
    until_waiting,
)
from flood import Interrupt
from ipc_channel import ChannelClosedError
from ipc_channel.sync import IPCChannelClient
from ipc_channel.sync.driver import NOBODY
from raw import CLOSE, PATIENCE, frame


@contextlib.contextmanager
def handled(
    ours: IPCChannelClient, handler: Callable[[], object]
) -> Iterator[Callable[[], None]]:
    """Give a function that has ``handler`` run once in the main thread, as it waits.

    It sends more than one signal: Python does not notice one that comes just before it
    begins to wait, and within a step of the channel the handler would be refused.
    """
    assert threading.current_thread() is threading.main_thread()
    armed = threading.Event()

    def handle(*_: object) -> None:
        if armed.is_set() and not driver_of(ours).loop.busy:
            armed.clear()
            handler()

    def send() -> None:
        armed.set()
        while armed.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(0.001)  # or else the main thread would handle nothing but signals

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield send
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupt() -> None:
    raise Interrupt


def send_when_waiting(ours: Any, send: Callable[[], None], count: int = 1) -> Call[None]:
    def work() -> None:
        until_waiting(ours, count)
        send()

    return Call(work)


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_an_interrupted_read_loses_nothing(connect: Connect, timeout: float | None) -> None:
    with connect() as (ours, peer), handled(ours, interrupt) as send:
        for part in (frame(b"first")[:2], frame(b"first")[2:7], b""):
            sending = send_when_waiting(ours, send)
            with pytest.raises(Interrupt):
                ours.read(timeout)
            sending.result()
            peer.send(part)
        peer.send(frame(b"first")[7:] + CLOSE)
        assert ours.read() == b"first"
        assert ours.read() is None


def test_an_interrupted_write_is_sent_whole(connect: Connect) -> None:
    with connect() as (ours, peer), handled(ours, interrupt) as send:

        def work() -> None:
            until_blocked(ours)
            send()

        sending = Call(work)
        with pytest.raises(Interrupt):
            ours.write(b"x" * 10**7)
        sending.result()
        assert driver_of(ours).writer is None
        taking = Call(peer.recv_all)
        ours.write(b"next")
        ours.close()
        assert taking.result() == [b"x" * 10**7, b"next"]


def test_an_interrupted_connect_can_be_repeated(
    role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    with handled(ours, interrupt) as send:
        for _ in range(3):
            sending = send_when_waiting(ours, send)
            with pytest.raises(Interrupt):
                ours.connect(PATIENCE)
            sending.result()
    assert ours.connect(0) is False
    ours.close()


def test_an_interrupted_close_frees_everything(connect: Connect) -> None:
    with connect(linger=PATIENCE) as (ours, _), handled(ours, interrupt) as send:
        with pytest.raises(TimeoutError):
            ours.write(bytes(10**7), 0)
        sending = send_when_waiting(ours, send)
        with pytest.raises(Interrupt):
            ours.close()
        sending.result()
        assert session_of(ours).closed
        assert driver_of(ours).loop.is_closed()


def test_an_interrupted_reader_leaves_the_lead_to_others(connect: Connect) -> None:
    with connect() as (ours, peer), handled(ours, interrupt) as send:
        others: list[Call[bytes | None]] = []

        def work() -> None:
            until_waiting(ours)  # the main thread leads
            others.extend(Call(ours.read) for _ in range(3))
            until_waiting(ours, 4)
            send()

        sending = Call(work)
        with pytest.raises(Interrupt):
            ours.read()
        sending.result()
        for _ in others:
            peer.send(frame(b"x"))
        assert [other.result() for other in others] == [b"x"] * 3


def test_an_interrupted_follower(connect: Connect) -> None:
    with connect() as (ours, peer), handled(ours, interrupt) as send:
        leader = Call(ours.read)
        until_waiting(ours)
        for _ in range(5):
            sending = send_when_waiting(ours, send, 2)
            with pytest.raises(Interrupt):
                ours.read()
            sending.result()
        peer.send(frame(b"x"))
        assert leader.result() == b"x"


HANDLERS: dict[str, Callable[[Any], object]] = {
    "close": lambda ours: ours.close(),
    "disconnect": lambda ours: ours.disconnect(),
    "abort": lambda ours: ours.abort(),
}


@pytest.fixture(params=HANDLERS)
def ending(request: pytest.FixtureRequest) -> Callable[[Any], object]:
    return HANDLERS[str(request.param)]


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_handler_ends_the_session_of_a_blocked_read(
    connect: Connect, ending: Callable[[Any], object], timeout: float | None
) -> None:
    with connect(linger=0) as (ours, _), handled(ours, lambda: ending(ours)) as send:
        sending = send_when_waiting(ours, send)
        assert ours.read(timeout) is None
        sending.result()
        assert ours.read(timeout) is None
        assert not driver_of(ours).waiting
        assert driver_of(ours).leader == NOBODY


def test_a_handler_ends_the_session_of_a_blocked_write(
    connect: Connect, ending: Callable[[Any], object]
) -> None:
    with connect(linger=0) as (ours, _), handled(ours, lambda: ending(ours)) as send:

        def work() -> None:
            until_blocked(ours)
            send()

        sending = Call(work)
        with pytest.raises(ChannelClosedError):
            ours.write(bytes(10**7))
        sending.result()


def test_a_handler_ends_a_blocked_connect(
    role: str, transport: str, tmp_path: Path
) -> None:
    ours = make(role, transport, tmp_path)
    with handled(ours, ours.close) as send:
        sending = send_when_waiting(ours, send)
        assert ours.connect(PATIENCE) is False
        sending.result()
    assert driver_of(ours).loop.is_closed()


def test_a_handler_that_writes_and_reads_during_a_read(connect: Connect) -> None:
    with connect() as (ours, peer):

        def handler() -> None:
            ours.write(b"from the handler")
            assert ours.connected
            peer.send(frame(b"for the handler") + frame(b"for the reader"))
            assert ours.read() == b"for the handler"

        with handled(ours, handler) as send:
            sending = send_when_waiting(ours, send)
            assert ours.read() == b"for the reader"
            sending.result()
        assert peer.recv_frame() == b"from the handler"


def test_a_handler_in_a_follower(connect: Connect, ending: Callable[[Any], object]) -> None:
    with connect(linger=0) as (ours, _), handled(ours, lambda: ending(ours)) as send:
        leader = Call(ours.read)
        until_waiting(ours)
        sending = send_when_waiting(ours, send, 2)
        assert ours.read() is None
        assert leader.result() is None
        sending.result()


def test_a_handler_that_writes_during_a_write_is_refused(connect: Connect) -> None:
    """It would wait for the write that it has interrupted."""
    refused: list[str] = []
    with connect() as (ours, peer):

        def handler() -> None:
            with pytest.raises(RuntimeError, match="signal handler") as caught:
                ours.write(b"never")
            refused.append(str(caught.value))

        with handled(ours, handler) as send:

            def work() -> None:
                until_blocked(ours)
                send()
                taken.append(peer.recv_frame())

            taken: list[bytes | None] = []
            sending = Call(work)
            ours.write(bytes(10**7))
            sending.result()
        assert taken == [bytes(10**7)]
        ours.write(b"goes on")
        assert peer.recv_frame() == b"goes on"
    assert len(refused) == 1


def test_a_handler_within_a_step_is_refused(connect: Connect) -> None:
    refused: list[object] = []
    with connect() as (ours, peer):
        uses: list[Callable[[], object]] = [
            *(ours.read, lambda: ours.read(0), lambda: ours.write(b"x"), ours.close),
            *(ours.disconnect, ours.abort, ours.connect, lambda: ours.connected),
            *(lambda: ours.write(bytes(10_000)), lambda: ours.write_many([b"x"])),
        ]

        def handler() -> None:
            for use in uses:
                with pytest.raises(RuntimeError, match="signal handler"):
                    use()
                refused.append(use)

        stream = session_of(ours).stream
        read = stream.read

        def read_and_handle(size: int) -> bytes:
            handler()
            return bytes(read(size))

        stream.read = read_and_handle
        for timeout in (None, PATIENCE):  # the short way, and the other
            peer.send(frame(b"x"))
            assert ours.read(timeout) == b"x"
        assert len(refused) == 2 * len(uses)
        del stream.read
        peer.send(frame(b"x"))
        assert ours.read() == b"x"
