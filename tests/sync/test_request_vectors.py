"""Requests over a blocking channel, against the vectors (spec/requests.md)."""

from __future__ import annotations

from typing import Any

import pytest

from blocking import Call, Connect
from ipc_channel import CallTimeoutError
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.request_handler import handle_blocking
from ipc_channel.sync import RequestChannel, request_cancelled
from request_steps import CASES, check_result, options_of, play_peer

# A thread that waits cannot be cancelled from outside.
WITHOUT_CANCEL = [
    case for case in CASES if not any("cancel" in step for step in case["steps"])
]


@pytest.mark.parametrize(("transport", "role"), [("unix", "client")])
@pytest.mark.parametrize("case", WITHOUT_CANCEL, ids=lambda case: str(case["id"]))
def test_each_step(case: dict[str, Any], connect: Connect) -> None:
    """Over one transport: the layer knows messages only."""
    calls: dict[str, Call[bytes]] = {}
    with connect(**options_of(case)) as (ours, raw):
        requests = RequestChannel(ours)
        serving = None
        if "serve" in case:
            serving = Call(
                requests.serve,
                lambda payload: handle_blocking(payload, requests.call, request_cancelled),
                concurrency=case["serve"],
            )
        for step in case["steps"]:
            if "call" in step:
                payload = bytes.fromhex(step["payload"])
                calls[step["call"]] = Call(requests.call, payload)
            elif "close" in step:
                ours.close()
            elif "answer" in step or "error" in step:
                call = calls[step.get("answer", step.get("error"))]
                error = call.error()
                check_result(step, call.result() if error is None else error)
            elif "closes" in step:
                if serving is not None:
                    serving.error()
                    ours.close()
                assert raw.recv_all() == []
            else:
                play_peer(step, raw)
        raw.close()
        ours.close()
        if serving is not None:
            serving.error()


def test_a_call_that_times_out_sends_a_cancel(connect: Connect) -> None:
    with connect() as (ours, raw):
        requests = RequestChannel(ours)
        with pytest.raises(CallTimeoutError):
            requests.call(b"x", 0.01)
        assert raw.recv_frame() == bytes.fromhex("11 00000001 78")
        assert raw.recv_frame() == bytes.fromhex("14 00000001")
        raw.send(frame(bytes.fromhex("13 00000001 09") + b"cancelled"))
        raw.send(frame(bytes.fromhex("12 00000002 79")))
        assert requests.call(b"z") == b"y"
