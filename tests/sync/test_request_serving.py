"""Serving requests on a blocking channel while other threads call."""

from __future__ import annotations

import pytest

from blocking import Call, Connect, eventually
from ipc_channel import BadMessageError, UnansweredError
from ipc_channel.conformance.raw_peer import CLOSE
from ipc_channel.sync import RequestChannel
from requesting import answer, cancel, request

_LARGE = bytes(20 * 2**20)  # more than all buffers between the ends hold


def test_requests_wait_until_serve_runs(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours, max_open=2, serves=True)
        call = Call(requests.call, b"?")
        assert raw.recv_frame() == request(1, b"?")[4:]
        for number in (1, 2, 3):
            raw.send(request(number, b"a"))
        raw.send(cancel(1) + answer(1, b"!"))
        assert call.result() == b"!"
        refused = [raw.recv_frame(), raw.recv_frame()]
        assert [one and one[:10] for one in refused] == [
            bytes.fromhex("1300000003") + b"\4busy",
            bytes.fromhex("1300000001") + b"\x09canc",
        ]
        serving = Call(requests.serve, lambda payload: payload + b"b", concurrency=2)
        assert raw.recv_frame() == bytes.fromhex("1200000002") + b"ab"
        raw.send(CLOSE)
        raw.end_writing()
        assert serving.error() is None


def test_a_request_that_waits_for_serve_has_its_id(connect: Connect) -> None:
    with connect() as (ours, raw):
        raw.send(request(1) + request(1))
        with pytest.raises(BadMessageError, match="request 1 is not answered yet"):
            RequestChannel(ours, serves=True).call(b"?")


def test_requests_that_wait_are_not_handled_after_the_end(connect: Connect) -> None:
    with connect() as (ours, raw):
        raw.send(request(1) + CLOSE)
        raw.end_writing()
        requests = RequestChannel(ours, serves=True)
        with pytest.raises(UnansweredError):
            requests.call(b"?")
        handled: list[bytes] = []

        def handler(payload: bytes) -> bytes:
            handled.append(payload)
            return payload

        requests.serve(handler)
        assert not handled


@pytest.mark.covers("REQ-6", "REQ-11")
def test_what_could_not_be_sent_is_sent_once_the_other_end_reads(connect: Connect) -> None:
    """Even if nothing more is read or written by then."""
    with connect() as (ours, raw):
        requests = RequestChannel(ours)
        serving = Call(requests.serve, lambda _: _LARGE)
        raw.send(request(1) + request(2))
        assert raw.recv(4) == (len(_LARGE) + 5).to_bytes(4, "big")
        raw.send(request(3) + cancel(3))
        eventually(lambda: bool(requests._line._unsent))
        assert raw.recv(len(_LARGE) + 5) == answer(1, _LARGE)[4:]
        assert raw.recv_frame() == answer(2, _LARGE)[4:]
        error = raw.recv_frame()
        assert error is not None
        assert error.startswith(bytes.fromhex("1300000003") + b"\x09cancelled")
        raw.send(CLOSE)
        raw.end_writing()
        assert serving.error() is None
