"""Calls over a blocking channel whose session another thread ends."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

import dispositions
from blocking import Call, Connect, connected, until_blocked, until_waiting
from ipc_channel import BadMessageError, CallTimeoutError, UnansweredError
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.sync import RequestChannel, serve
from requesting import answer, cancel, request

_LARGE = 20 * 2**20  # bytes: more than all buffers between the ends hold


def test_a_session_has_one_request_channel(connect: Connect) -> None:
    with connect() as (ours, _):
        RequestChannel(ours)
        with pytest.raises(RuntimeError, match="has a RequestChannel already"):
            serve(ours, bytes)


@pytest.mark.covers("REQ-17")
def test_a_limit_below_the_longest_code_is_refused(connect: Connect) -> None:
    with (
        connect(max_message_size=69) as (ours, _),
        pytest.raises(ValueError, match="max_message_size is 69, but requests need"),
    ):
        RequestChannel(ours)


@pytest.mark.covers("REQ-4")
def test_a_call_that_is_being_sent_fails_as_the_others(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours)
        reads = Call(requests.call, b"small")
        assert raw.recv_frame() == bytes.fromhex("11 00000001") + b"small"
        sends = Call(requests.call, bytes(_LARGE))
        assert raw.recv(4) == (_LARGE + 5).to_bytes(4, "big")
        raw.send(frame(b"no message of the layer"))
        assert isinstance(reads.error(), BadMessageError)
        assert isinstance(sends.error(), BadMessageError)


def test_the_other_end_stops_reading(tmp_path: Path) -> None:
    """Only a write tells, and the other end never ends its own direction."""
    with connected("unix", "client", tmp_path) as (ours, raw):
        requests = RequestChannel(ours)
        reads = Call(requests.call, b"x")
        follows = Call(requests.call, b"y")
        numbers = {raw.recv_frame(), raw.recv_frame()}
        assert len(numbers) == 2
        raw.end_reading()
        with pytest.raises(UnansweredError, match="does not read"):
            requests.call(b"z")
        for call in (reads, follows):
            with pytest.raises(UnansweredError, match="does not read"):
                call.result()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C does not interrupt a write")
def test_a_request_that_is_interrupted_before_it_is_sent_takes_no_room(
    connect: Connect,
) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours, max_open=1)
        fills = Call(ours.write, bytes(_LARGE))
        until_blocked(ours)

        def interrupt() -> None:
            until_waiting(ours, 2)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        interrupting = Call(interrupt)
        with dispositions.with_ctrl_c(), pytest.raises(KeyboardInterrupt):
            requests.call(b"x")
        interrupting.result()
        assert requests.open_requests == 0
        assert raw.recv_frame() == bytes(_LARGE)
        fills.result()
        call = Call(requests.call, b"y")
        assert raw.recv_frame() == request(2, b"y")[4:]
        raw.send(answer(2, b"z"))
        assert call.result() == b"z"


def test_a_request_that_is_not_sent_in_time_takes_no_room(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours, max_open=1)
        fills = Call(ours.write, bytes(_LARGE))
        until_blocked(ours)
        with pytest.raises(CallTimeoutError, match=r"not sent within 0\.01 s") as caught:
            requests.call(b"x", 0.01)
        assert caught.value.sent == 0
        assert requests.open_requests == 0
        assert raw.recv_frame() == bytes(_LARGE)
        fills.result()
        call = Call(requests.call, b"y")
        assert raw.recv_frame() == request(2, b"y")[4:]
        raw.send(answer(2, b"z"))
        assert call.result() == b"z"


def test_a_call_that_times_out_tells_whether_it_was_sent(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours, max_open=1)
        with pytest.raises(
            CallTimeoutError, match=r"no answer came within 0\.01 s"
        ) as sent:
            requests.call(b"x", 0.01)
        with pytest.raises(CallTimeoutError, match=r"not sent .* max_open = 1") as unsent:
            requests.call(b"y", 0.01)
        assert (sent.value.sent, unsent.value.sent) == (1, 0)
        assert raw.recv_frame() == request(1, b"x")[4:]
        assert raw.recv_frame() == cancel(1)[4:]


async def _coroutine_function(_: object) -> bytes:
    return b""


def test_a_coroutine_function_is_no_handler(connect: Connect) -> None:
    with connect() as (ours, _), pytest.raises(TypeError, match=r"use ipc_channel\.serve"):
        serve(ours, _coroutine_function)  # type: ignore[arg-type]
