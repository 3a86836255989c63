"""What must hold of a flood of messages that was interrupted."""

from __future__ import annotations

from typing import Any

from ipc_channel import SessionInterruptedError


def frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut ``data`` into whole frames and what is left."""
    found, start = [], 0
    while len(data) >= (body := start + 4):
        end = body + int.from_bytes(data[start:body], "big")
        if len(data) < end:
            break
        found.append(data[body:end])
        start = end
    return found, data[start:]


def check_error(channel: Any) -> None:
    assert isinstance(channel.last_exception, SessionInterruptedError)
    assert "Interrupt was raised" in str(channel.last_exception)
    # The first end stays: the peer's close frame may have come before.
    assert channel.end_reason in ("local", "clean")


def check_written(flood: Any) -> None:
    got, rest = frames(bytes(flood.wire.got))
    clean = got[-1:] == [b""]
    if clean:
        assert rest == b""
        got.pop()
    else:
        assert flood.kind == "close" or flood.channel.last_exception is not None
    expected = [
        one
        for one, certain in zip(flood.messages, flood.written, strict=False)
        if certain or one in got
    ]
    assert got == expected if clean else got == expected[: len(got)]


def check_read(flood: Any, missing: int) -> None:
    left = iter(flood.read)
    expected = next(left, None)
    skipped = []
    for one in flood.messages:
        if one == expected:
            expected = next(left, None)
        elif expected is not None:
            skipped.append(one)
    assert expected is None, "a message came twice, or torn"
    assert len(skipped) <= missing, "a message is lost in the middle"
    if len(flood.read) + missing < len(flood.messages) and flood.kind != "close":
        check_error(flood.channel)
