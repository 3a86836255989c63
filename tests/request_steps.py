"""Steps of the vectors of the requests layer (spec/vectors/requests.json)."""

from __future__ import annotations

from typing import Any

import vectors
from ipc_channel import IPCChannelError
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.protocol.request_messages import ERROR, decode_error, decode_head
from raw import Raw

CASES = vectors.load("requests")


def options_of(case: dict[str, Any]) -> Any:
    return {key: case[key] for key in ("max_message_size",) if key in case}


def check_sent(step: dict[str, Any], message: bytes | None) -> None:
    """Check what our end has sent."""
    assert message is not None
    if "sends" in step:
        assert message.hex() == step["sends"]
        return
    kind, number = decode_head(message)
    assert (kind, number) == (ERROR, step["sends_error"]), message
    assert decode_error(message).code == step["code"]


def play_peer(step: dict[str, Any], raw: Raw) -> None:
    """Do what the raw peer does in a step."""
    if "receive" in step:
        raw.send(frame(bytes.fromhex(step["receive"])))
    elif "peer" in step:
        raw.send({"close": CLOSE, "eof": b"", "truncated": bytes(3)}[step["peer"]])
        raw.end_writing()
    else:
        check_sent(step, raw.recv_frame())


def check_result(step: dict[str, Any], result: object) -> None:
    """Check what a call has come to."""
    if "answer" in step:
        assert result == bytes.fromhex(step["payload"])
    else:
        assert isinstance(result, IPCChannelError), result
        assert result.code == step["code"]
        assert str(result) == step.get("text", str(result))
