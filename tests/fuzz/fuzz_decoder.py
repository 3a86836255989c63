"""Coverage-guided fuzzing of the decoder: ``nox -s fuzz``.

The first byte of an input picks the limit and how the rest is cut. However it
is cut, the outcome must be the one of a straightforward decoder.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ipc_channel"]):
    from ipc_channel.errors import IPCChannelError
    from ipc_channel.protocol.framing import Decoder

LIMITS = [1, 10, 300, 2**32 - 1]


def expected(wire: bytes, limit: int) -> tuple[list[bytes], str]:
    """Decode ``wire`` as the specification says it, without any cleverness."""
    messages: list[bytes] = []
    while wire:
        if len(wire) < 4:
            return messages, "truncated"
        size = int.from_bytes(wire[:4], "big")
        if size == 0:
            return messages, "clean"
        if size > limit:
            return messages, "too_large"
        if len(wire) < 4 + size:
            return messages, "truncated"
        messages.append(wire[4 : 4 + size])
        wire = wire[4 + size :]
    return messages, "eof"


def decode(wire: bytes, limit: int, step: int, in_place: bool) -> Decoder:
    """Feed ``wire`` in pieces of ``step`` bytes, as a session does."""
    decoder = Decoder(limit)
    while wire:
        room = decoder.payload.room if in_place and decoder.payload else None
        count = min(len(wire), step, step if room is None else len(room))
        if room is None:
            decoder.feed(wire[:count])
        else:
            room[:count] = wire[:count]
            del room
            decoder.filled(count)
        wire = wire[count:]
    decoder.feed_eof()
    return decoder


def check(data: bytes) -> None:
    if not data:
        return
    limit, step = LIMITS[data[0] % 4], 1 + (data[0] >> 3)
    for in_place in (False, True):
        decoder = decode(data[1:], limit, step, in_place)
        messages, end = expected(data[1:], limit)
        assert (list(decoder.messages), decoder.end) == (messages, end)
        assert (decoder.error is None) == (end in ("clean", "eof"))
        assert decoder.error is None or isinstance(decoder.error, IPCChannelError)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
