"""The decoder: the vectors, every way to cut a stream, and how much memory it takes."""

from __future__ import annotations

import io
import itertools
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vectors
from ipc_channel import (
    FrameTooLargeError,
    IPCChannelError,
    TruncatedError,
)
from ipc_channel.protocol.framing import (
    CLOSE_FRAME,
    DEFAULT_MAX_MESSAGE_SIZE,
    MAX_LENGTH,
    Decoder,
    encode_header,
)

CASES = {case["id"]: case for case in vectors.load("frames")}
AFTER = bytes.fromhex("000000017a")


def decode(wire: bytes, limit: int, cuts: list[int] | None = None) -> Decoder:
    """Feed ``wire`` in pieces, then its end."""
    decoder = Decoder(limit)
    bounds = [0, *(cuts if cuts is not None else []), len(wire)]
    for start, stop in itertools.pairwise(bounds):
        decoder.feed(wire[start:stop])
    decoder.feed_eof()
    return decoder


def read_in_place(wire: bytes, limit: int) -> Decoder:
    """Put what can be into the decoder's own room, as a session does."""
    decoder = Decoder(limit)
    while wire:
        room = None if decoder.payload is None else decoder.payload.room
        count = min(len(wire), 5 if room is None else len(room))
        if room is None:
            decoder.feed(wire[:count])
        else:
            room[:count] = wire[:count]
            del room
            decoder.filled(count)
        wire = wire[count:]
    decoder.feed_eof()
    return decoder


def check(decoder: Decoder, case: dict[str, Any], extra: list[bytes] | None = None) -> None:
    assert list(decoder.messages) == vectors.to_messages(case["messages"]) + (extra or [])
    assert decoder.end == case["end_reason"]
    assert (decoder.error and decoder.error.code) == case["error"]


@pytest.mark.parametrize("id_", CASES)
def test_vector(id_: str) -> None:
    case = CASES[id_]
    limit = case.get("max_message_size", DEFAULT_MAX_MESSAGE_SIZE)
    wire = vectors.to_bytes(case["wire"])
    check(decode(wire, limit), case)
    check(decode(wire, limit, list(range(len(wire)))), case)
    check(read_in_place(wire, limit), case)
    if case["end_reason"] == "eof":
        check(decode(wire + AFTER, limit), case, [b"z"])
    elif case["end_reason"] != "truncated":
        check(decode(wire + AFTER, limit), case)


@pytest.mark.parametrize("cut", range(18))
def test_every_split_of_three_frames(cut: int) -> None:
    wire = b"".join(encode_header(n) + bytes([n]) * n for n in (1, 2, 3))
    assert len(wire) == 18
    for second in range(cut, 18):
        decoder = decode(wire, 10, [cut, second])
        assert list(decoder.messages) == [b"\1", b"\2\2", b"\3\3\3"]


@given(
    st.lists(st.integers(1, 200) | st.integers(60_000, 70_000), max_size=20),
    st.lists(st.integers(0, 400_000), max_size=20),
)
def test_any_messages_cut_anywhere(sizes: list[int], cuts: list[int]) -> None:
    messages = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    wire = b"".join(encode_header(len(m)) + m for m in messages) + CLOSE_FRAME
    decoder = decode(wire, MAX_LENGTH, sorted(min(cut, len(wire)) for cut in cuts))
    assert list(decoder.messages) == messages
    assert decoder.end == "clean"


@given(st.lists(st.binary()), st.integers(1, 300))
def test_any_bytes_end_in_a_documented_way(pieces: list[bytes], limit: int) -> None:
    decoder = Decoder(limit)
    for piece in pieces:
        decoder.feed(piece)
    decoder.feed_eof()
    assert all(1 <= len(message) <= limit for message in decoder.messages)
    assert decoder.end in ("clean", "eof", "truncated", "too_large")
    assert decoder.error is None or isinstance(decoder.error, IPCChannelError)


def test_truncated_says_how_much_came() -> None:
    error = decode(b"\0\0\0", 10).error
    assert isinstance(error, TruncatedError)
    assert (error.partial, error.expected) == (b"\0\0\0", 4)
    assert str(error) == "stream ended after 3 of the 4 header bytes"
    error = decode(encode_header(5) + b"ab", 10).error
    assert isinstance(error, TruncatedError)
    assert (error.partial, error.expected) == (b"ab", 5)
    assert str(error) == "stream ended after 2 of the 5 payload bytes"
    again = error.copy_to_raise()
    assert (str(again), again.partial, again.expected) == (str(error), b"ab", 5)


def test_too_large_names_value_and_limit() -> None:
    error = decode(b"\xff\xff\xff\xff", 10).error
    assert isinstance(error, FrameTooLargeError)
    assert str(error).startswith(
        "frame of 4294967295 bytes exceeds the limit of 10; raise max_message_size at both ends"
    )


@pytest.mark.covers("FRM-9")
def test_a_header_reserves_less_than_one_mebibyte() -> None:
    tracemalloc.start()
    try:
        decoder = Decoder(MAX_LENGTH)
        decoder.feed(b"\xff\xff\xff\xff")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        decoder.feed(bytes(3 * 2**20))
        # What has arrived, its piece above, and what is reserved ahead of it.
        assert tracemalloc.get_traced_memory()[0] < 4 * 2**20 + 2**19
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [2**16, 2**20 + 1, 5_000_003, 2**24])
def test_a_payload_takes_no_more_than_its_size(size: int) -> None:
    """More would be memory that the process has not got yet: slow, page by page."""
    piece = bytes(2**16)
    decoder = Decoder()
    decoder.feed(encode_header(size) + b"x")
    tracemalloc.start()
    try:
        while not decoder.messages:
            payload = decoder.payload
            assert payload is not None
            count = min(len(payload.room), len(piece))
            payload.room[:count] = memoryview(piece)[:count]
            decoder.filled(count)
        assert tracemalloc.get_traced_memory()[1] < size + 2**14
    finally:
        tracemalloc.stop()
    assert decoder.messages[0] == b"x" + bytes(size - 1)


def test_a_view_that_somebody_keeps_does_not_stop_a_payload() -> None:
    """A traceback does: that of a signal handler that raised during a read."""
    decoder = Decoder()
    decoder.feed(encode_header(2**21) + b"x")
    kept = []
    while not decoder.messages:
        assert decoder.payload is not None
        kept.append(decoder.payload.room)
        decoder.filled(min(100_000, len(kept[-1])))
    assert len(decoder.messages[0]) == 2**21


def test_a_decoder_begins_without_an_end() -> None:
    decoder = Decoder()
    assert (decoder.end, decoder.error, decoder.payload) == (None, None, None)
    with pytest.raises(ValueError, match="no payload has begun"):
        decoder.filled(1)


@pytest.mark.parametrize("begun", [b"\0\0\0", b"\0\0\0\3ab"])
def test_what_has_begun_is_dropped_at_the_end(begun: bytes) -> None:
    for finish in (Decoder.feed_eof, Decoder.forget):
        decoder = Decoder()
        decoder.feed(begun)
        finish(decoder)
        assert decoder.payload is None
        if decoder.end is None:
            decoder.feed(b"\0\0\0\1c")
            assert list(decoder.messages) == [b"c"], "nothing of before is left"


def test_forget_drops_what_was_not_delivered() -> None:
    decoder = Decoder()
    decoder.feed(b"\0\0\0\1a")
    decoder.forget()
    assert not decoder.messages


@pytest.mark.parametrize("cut", [1, 4, 5, 2**19 + 3, 2**19 + 4, 2**19 + 5, 2**20 + 4])
def test_a_payload_that_grows_as_it_arrives(cut: int) -> None:
    message = random.Random(0).randbytes(2**20 + 2**18)
    wire = encode_header(len(message)) + message + b"\0\0\0\1z"
    for decoder in (decode(wire, len(message), [cut]), read_in_place(wire, len(message))):
        assert list(decoder.messages) == [message, b"z"]
        assert decoder.end == "eof"


@pytest.mark.covers("FRM-2")
@pytest.mark.parametrize("growths", [0, 1])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_frame_for_which_there_is_no_memory(
    growths: int, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        left = growths

        def write(self, data: Any, /) -> int:
            if self.left == 0:
                self.close()  # so it is when a real one has failed to grow
                raise MemoryError
            self.left -= 1
            return super().write(data)

    monkeypatch.setattr("ipc_channel.protocol.framing.BytesIO", Full)
    size = 2 * 2**20
    wire = b"\0\0\0\1a" + encode_header(size) + bytes(2**19 * growths + 500)
    decoder = read_in_place(wire, size) if in_place else decode(wire, size, [100])
    assert list(decoder.messages) == [b"a"]
    assert decoder.end == "too_large"
    assert str(decoder.error).startswith(f"there is no memory for a frame of {size} bytes")
    assert decoder.payload is None
