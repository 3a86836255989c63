"""Calls over a blocking channel whose session another thread ends."""

from __future__ import annotations

import pytest

from blocking import Call, Connect
from ipc_channel import BadMessageError
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.sync import RequestChannel

_LARGE = 20 * 2**20  # bytes: more than all buffers between the ends hold


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
