"""Blocking requests that wait: for room, for their turn, for the other end to read."""

from __future__ import annotations

import pytest

from blocking import Call, Connect, eventually
from ipc_channel import CallTimeoutError
from ipc_channel.conformance.raw_peer import CLOSE
from ipc_channel.sync import RequestChannel, request_cancelled, serve
from requesting import answer, cancel, request

_LARGE = bytes(20 * 2**20)  # more than all buffers between the ends hold


@pytest.mark.covers("REQ-7")
def test_a_call_waits_while_as_many_as_may_be_are_open(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours, max_open=1)
        first = Call(requests.call, b"a")
        assert raw.recv_frame() == request(1, b"a")[4:]
        with pytest.raises(CallTimeoutError):
            requests.call(b"b", 0.01)
        assert not raw.can_read()
        raw.send(answer(1, b"c"))
        assert first.result() == b"c"


def test_a_call_that_waits_reads_that_there_is_room(connect: Connect) -> None:
    """If all requests that are open were cancelled, nobody else does."""
    with connect() as (ours, raw):
        requests = RequestChannel(ours, max_open=1)
        with pytest.raises(CallTimeoutError):
            requests.call(b"a", 0.01)
        assert raw.recv_frame() == request(1, b"a")[4:]
        assert raw.recv_frame() == cancel(1)[4:]
        second = Call(requests.call, b"b")
        raw.send(answer(1))
        assert raw.recv_frame() == request(2, b"b")[4:]
        raw.send(answer(2, b"c"))
        assert second.result() == b"c"


def test_a_call_reads_before_all_of_its_request_is_sent(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours)
        call = Call(requests.call, _LARGE)
        eventually(lambda: call.done() or requests._line._reader is not None)
        assert raw.recv_frame() == request(1, _LARGE)[4:]
        raw.send(answer(1, b"x"))
        assert call.result() == b"x"


@pytest.mark.covers("REQ-11")
def test_serving_reads_while_its_answers_wait(connect: Connect) -> None:
    """The first is begun, and the second waits behind it."""
    with connect() as (ours, raw):
        serving = Call(serve, ours, lambda payload: payload or _LARGE)
        raw.send(request(1) + request(2))
        part = bytes(2**20)
        more = b"".join(request(number, part) for number in range(3, 23))
        Call(raw.send, more).result()
        for number in range(1, 23):
            expected = _LARGE if number < 3 else part
            assert raw.recv_frame() == answer(number, expected)[4:]
        raw.send(CLOSE)
        raw.end_writing()
        assert serving.error() is None


def test_a_call_reads_a_request_for_a_thread_that_waits(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours)
        call = Call(requests.call, b"?")
        assert raw.recv_frame() == request(1, b"?")[4:]
        line = requests._line
        eventually(lambda: line._reader is not None)
        serving = Call(requests.serve, lambda payload: payload)
        eventually(lambda: any(one.sleeps for one in getattr(line.handling, "workers", ())))
        raw.send(request(1, b"a"))
        assert raw.recv_frame() == answer(1, b"a")[4:]
        raw.send(answer(1, b"!") + CLOSE)
        raw.end_writing()
        assert call.result() == b"!"
        assert serving.error() is None


@pytest.mark.covers("REQ-16")
def test_what_waits_for_its_turn_is_not_handled_after_the_end(connect: Connect) -> None:
    handled: list[bytes] = []

    def handler(payload: bytes) -> bytes:
        handled.append(payload)
        eventually(request_cancelled)
        return payload

    with connect() as (ours, raw):
        serving = Call(serve, ours, handler)
        raw.send(request(1, b"a") + request(2, b"b") + CLOSE)
        raw.end_writing()
        assert serving.error() is None
        assert handled == [b"a"]
