"""Moments between two threads that come about only rarely, made to come about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from blocking import (
    Call,
    Connect,
    driver_of,
    eventually,
    session_of,
    until_blocked,
    until_waiting,
)
from flood import Interrupt
from ipc_channel import ChannelClosedError
from raw import frame


def test_a_lone_reader_tells_all_that_have_come_since(connect: Connect) -> None:
    """It has read for others, too, and writers that wait pass nothing on."""
    with connect() as (ours, peer):
        peer.send(frame(b"x"))

        def read_twice() -> bytes | None:
            assert ours.read() == b"x"
            return ours.read()  # the short way is for a thread that has read before

        readers = [Call(read_twice)]
        eventually(lambda: session_of(ours).stream.thread != threading.get_ident())
        until_waiting(ours)
        writers = [Call(ours.write, bytes(10**7))]
        until_blocked(ours)
        until_waiting(ours, 2)
        for count in (3, 4, 5):
            writers.append(Call(ours.write, b"y"))
            until_waiting(ours, count)
        for count in (6, 7):
            readers.append(Call(ours.read))
            until_waiting(ours, count)
        peer.send(frame(b"x") * 3)
        assert [reader.result() for reader in readers] == [b"x"] * 3
        assert peer.recv_frame() == bytes(10**7)
        for writer in writers:
            writer.result()


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_message_that_is_put_back_is_announced(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    with connect() as (ours, peer):
        driver, main = driver_of(ours), threading.get_ident()
        others: list[Call[bytes | None]] = []
        wait = driver.wait

        def interrupted(is_done: Callable[[], bool], timeout: float | None = None) -> bool:
            done = wait(is_done, timeout)
            if threading.get_ident() == main and not others:
                others.append(Call(ours.read))
                until_waiting(ours)
                raise Interrupt
            return done

        peer.send(frame(b"x") * 2)
        assert ours.read() == b"x"
        assert ours.read() == b"x"
        peer.send(frame(b"put back")[:5])
        with pytest.raises(TimeoutError):
            ours.read(0)  # from now on the short way does not do
        peer.send(frame(b"put back")[5:])
        monkeypatch.setattr(driver, "wait", interrupted)
        with pytest.raises(Interrupt):
            ours.read(timeout)
        assert others[0].result() == b"put back"


def test_a_close_behind_the_header_of_a_message(connect: Connect) -> None:
    """As many bytes are left as the message has, but not all of them are its own."""
    with connect() as (ours, peer):
        stream = session_of(ours).stream
        write, calls, is_full = stream.write, [0], [True]

        def write_a_header(buffers: Sequence[bytes]) -> int:
            calls[0] += 1
            if not is_full[0]:
                return int(write(buffers))
            if calls[0] > 1:
                raise BlockingIOError
            return int(write([buffers[0][:4]]))

        stream.write = write_a_header
        writing = Call(ours.write, b"x" * 100_000)
        eventually(lambda: calls[0] > 1)
        closing = Call(ours.close)
        assert isinstance(writing.error(), ChannelClosedError)
        is_full[0] = False
        assert peer.recv_all() == [b"x" * 100_000]
        peer.close()
        closing.result()
        del stream.write


def test_a_close_as_a_lone_reader_has_seen_input(connect: Connect) -> None:
    """What came is dropped with all that comes later."""
    with connect(linger=60) as (ours, peer):
        driver = driver_of(ours)
        poll = driver.poller.poll
        seen, goes_on = threading.Event(), threading.Event()

        def held_up(timeout: float | None) -> Sequence[tuple[int, int]]:
            ready = poll(timeout)
            if not seen.is_set():
                seen.set()
                goes_on.wait(60)
            return ready

        driver.poller.poll = held_up  # type: ignore[method-assign]

        def read() -> bytes | None:
            session_of(ours).stream.use_in_this_thread()  # for the short way
            return ours.read()

        reading = Call(read)
        until_waiting(ours)
        peer.send(frame(b"x") * 2)
        assert seen.wait(60)
        with pytest.raises(TimeoutError):
            ours.write(bytes(10**7), 0)  # so that the close has to wait
        closing = Call(ours.close)
        eventually(lambda: session_of(ours).closing)
        goes_on.set()
        assert reading.result() is None
        assert session_of(ours).queued == 0
        peer.recv_all()
        peer.close()
        closing.result()
        assert ours.read() is None
