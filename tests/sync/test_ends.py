"""How a session ends: every end that a peer can cause, and our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from blocking import (
    Call,
    Connect,
    connected,
    read_to_end,
    session_of,
    until_blocked,
    until_waiting,
)
from ipc_channel import (
    ChannelClosedError,
    FrameTooLargeError,
    IPCChannelError,
    PeerGoneError,
    ResetError,
    TruncatedError,
)
from ipc_channel.sync import IPCChannelClient
from raw import CLOSE, Raw, frame


def clean(peer: Raw) -> None:
    peer.send(CLOSE)


def clean_and_gone(peer: Raw) -> None:
    peer.send(CLOSE)
    peer.close()


def eof(peer: Raw) -> None:
    peer.end_writing()


def in_a_header(peer: Raw) -> None:
    peer.send(b"\0\0")
    peer.end_writing()


def in_a_payload(peer: Raw) -> None:
    peer.send(frame(bytes(100_000))[:50_000])
    peer.end_writing()


def too_large(peer: Raw) -> None:
    peer.send((10**7 + 1).to_bytes(4, "big"))


ENDS: dict[Callable[[Raw], None], tuple[str, str | None]] = {
    clean: ("clean", None),
    clean_and_gone: ("clean", None),
    eof: ("eof", None),
    in_a_header: ("truncated", "truncated"),
    in_a_payload: ("truncated", "truncated"),
    too_large: ("too_large", "too-large"),
}


@pytest.fixture(params=ENDS, ids=lambda end: str(end.__name__))
def end(request: pytest.FixtureRequest) -> Any:
    return request.param


def greet(ours: IPCChannelClient, peer: Raw) -> None:
    """Before its first byte, an end of a named pipe may be that of a stray opener."""
    peer.send(frame(b"hello"))
    assert ours.read() == b"hello"


def check_end(ours: IPCChannelClient, reason: str, code: str | None) -> None:
    """Every further read has the same end, whether or not it may wait."""
    assert ours.end_reason == reason
    for timeout in (None, 0, None, 1, None):
        try:
            assert ours.read(timeout) is None
            assert code is None
        except IPCChannelError as error:
            assert error.code == code  # either this or None
    assert read_to_end(ours) == ([], code)
    last = ours.last_exception
    assert (last.code if last else None) == code


@pytest.mark.parametrize("unread", [0, 1, 3])
def test_an_end_that_comes_before_the_read(
    connect: Connect, end: Callable[[Raw], None], unread: int
) -> None:
    with connect(max_message_size=10**7) as (ours, peer):
        greet(ours, peer)
        peer.send(frame(b"x") * unread)
        end(peer)
        reason, code = ENDS[end]
        for _ in range(unread):
            assert ours.read() == b"x"
        try:
            assert ours.read() is None
        except IPCChannelError as error:
            assert error.code == code  # either this or None
        check_end(ours, reason, code)


@pytest.mark.parametrize("timeout", [None, 60])
def test_an_end_that_comes_during_a_read(
    connect: Connect, end: Callable[[Raw], None], timeout: float | None
) -> None:
    with connect(max_message_size=10**7) as (ours, peer):
        greet(ours, peer)
        reading = Call(ours.read, timeout)
        until_waiting(ours)
        end(peer)
        reason, code = ENDS[end]
        error = reading.error()
        assert error is None or isinstance(error, IPCChannelError)
        assert (error.code if error else None) == code
        check_end(ours, reason, code)


def test_an_end_reaches_everyone(connect: Connect, end: Callable[[Raw], None]) -> None:
    """Also those who wait beside a writer, for whom the end changes nothing."""
    if end is clean_and_gone:
        end = clean  # or else the writers would not wait
    with connect(max_message_size=10**7) as (ours, peer):
        greet(ours, peer)
        writing = Call(ours.write, bytes(10**7))
        until_blocked(ours)
        writers = [Call(ours.write, b"y") for _ in range(2)]
        until_waiting(ours, 3)
        readers = [Call(ours.read) for _ in range(3)]
        until_waiting(ours, 6)
        end(peer)
        for reader in readers:
            error = reader.error()
            assert isinstance(error, IPCChannelError) == (ENDS[end][1] is not None)
        if end is too_large:
            for writer in (writing, *writers):
                assert isinstance(writer.error(), FrameTooLargeError)
            return
        assert not writing.done()
        assert peer.recv_frame() == bytes(10**7)
        assert [peer.recv_frame() for _ in writers] == [b"y"] * 2
        for writer in (writing, *writers):
            writer.result()


def test_a_reset(role: str, tmp_path: Any) -> None:
    with connected("tcp", role, tmp_path) as (ours, peer):
        peer.send(frame(b"before"))
        assert ours.read() == b"before"
        readers = [Call(ours.read), Call(ours.read, 60)]
        until_waiting(ours, 2)
        peer.reset()
        for reader in readers:
            assert isinstance(reader.error(), ResetError)
        for _ in range(3):
            with pytest.raises(ResetError):
                ours.read()
            with pytest.raises(ConnectionError):
                ours.write(b"x")
        assert not ours.connected
        assert ours.end_reason == "reset"


def test_a_peer_that_has_gone(connect: Connect) -> None:
    with connect() as (ours, peer):
        peer.send(frame(b"last words") + CLOSE)
        peer.close()
        with pytest.raises(ConnectionError):
            while True:
                ours.write(bytes(1000))
        for _ in range(3):
            with pytest.raises(ConnectionError):
                ours.write(b"x")
            with pytest.raises(ConnectionError):
                ours.write(b"x", 0)
            with pytest.raises(ConnectionError):
                ours.write(bytes(100_000))
            with pytest.raises(ConnectionError):
                ours.write_many([b"x", b"y"])
        assert read_to_end(ours)[0] == [b"last words"]


def test_a_peer_that_goes_during_a_write(connect: Connect) -> None:
    with connect() as (ours, peer):
        writers = [Call(ours.write, bytes(10**7)) for _ in range(3)]
        until_blocked(ours)
        until_waiting(ours, 3)
        peer.close()
        for writer in writers:
            assert isinstance(writer.error(), PeerGoneError | ResetError)


def test_own_end(connect: Connect) -> None:
    with connect() as (ours, peer):
        peer.send(frame(b"unread") * 3)
        assert ours.read() == b"unread"
        ours.close()
        assert ours.end_reason == "local"
        for timeout in (None, 0, None, 1):
            assert ours.read(timeout) is None
        assert list(ours) == []
        assert isinstance(ours.last_exception, ChannelClosedError)
        assert peer.recv_all() == []


def test_an_end_behind_messages_that_were_not_read(connect: Connect) -> None:
    with connect() as (ours, peer):
        peer.send(frame(b"one") + frame(b"two") + CLOSE)
        assert ours.read() == b"one"
        assert ours.end_reason is None
        assert ours.read() == b"two"
        assert ours.end_reason == "clean"  # without another read
        assert ours.last_exception is None


def test_writing_goes_on_after_the_peers_end(connect: Connect) -> None:
    with connect() as (ours, peer):
        peer.send(CLOSE)
        assert ours.read() is None
        for size in (1, 100, 5000, 100_000):
            writing = Call(ours.write, bytes(size))
            assert peer.recv_frame() == bytes(size)
            writing.result()
        ours.close()
        assert peer.recv_all() == []


def test_use_after_close(connect: Connect) -> None:
    with connect() as (ours, _):
        ours.close()
        assert session_of(ours).closed
        for use in (
            lambda: ours.write(b"x"),
            lambda: ours.write_many([b"x"]),
            ours.connect,
        ):
            with pytest.raises(ChannelClosedError):
                use()
        ours.close()
        ours.disconnect()
        ours.abort()
        assert not ours.connected
        assert ours.read() is None


def test_truncated_says_what_came(connect: Connect) -> None:
    with connect() as (ours, peer):
        peer.send(frame(b"four")[:6])
        peer.end_writing()
        with pytest.raises(TruncatedError, match="2 of the 4 payload bytes"):
            ours.read()


@pytest.mark.covers("SES-3")
def test_a_reset_that_a_small_write_meets(role: str, tmp_path: Any) -> None:
    """The kernel reports a reset once: to the write here, and no more to the read."""
    with connected("tcp", role, tmp_path) as (ours, peer):
        peer.send(frame(b"whole") + frame(b"begun")[:-1])
        peer.reset()
        with pytest.raises(PeerGoneError, match="reset"):
            while True:  # until the reset has arrived
                ours.write(b"x")
        assert ours.read() == b"whole"
        with pytest.raises(ResetError):
            ours.read()
        assert ours.end_reason == "reset"
