"""What may be sent, in which form, and what is refused."""

from __future__ import annotations

import array
import tracemalloc
from typing import Any

import pytest

from ipc_channel import (
    EmptyMessageError,
    MessageTooLargeError,
)
from ipc_channel.protocol.framing import (
    MAX_LENGTH,
    Decoder,
    message_bytes,
)


def test_what_may_be_sent() -> None:
    numbers = array.array("I", [1, 2, 3, 4])
    assert message_bytes(b"x", 1) == b"x"
    data = b"not copied"
    assert message_bytes(data, len(data)) is data
    assert message_bytes(bytearray(b"xy"), 2) == b"xy"
    assert message_bytes(numbers, 16) == numbers.tobytes()
    assert message_bytes(memoryview(numbers), 16) == numbers.tobytes()
    assert message_bytes(memoryview(b"abcdef")[::2], 3) == b"ace"


def test_what_is_sent_is_plain_bytes() -> None:
    """Whatever a class of its own says of its length, the frame has that of its bytes."""

    class Lying(bytes):
        def __len__(self) -> int:
            return 1

    payload = message_bytes(Lying(b"abc"), 3)
    assert type(payload) is bytes
    assert payload == b"abc"
    with pytest.raises(MessageTooLargeError):
        message_bytes(Lying(b"abc"), 2)


def test_what_is_sent_is_a_copy() -> None:
    data = bytearray(b"abc")
    payload = message_bytes(data, 3)
    data[0] = 0
    assert payload == b"abc"


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2], object()])
def test_what_is_not_bytes(data: Any) -> None:
    with pytest.raises(TypeError, match=f"bytes-like, not {type(data).__name__}") as caught:
        message_bytes(data, 10)
    assert ("use .encode()" in str(caught.value)) == isinstance(data, str)


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")])
def test_empty_message(data: Any) -> None:
    with pytest.raises(EmptyMessageError, match="send at least one byte, or call close"):
        message_bytes(data, 10)


@pytest.mark.parametrize("data", [b"12345678901", array.array("I", [1, 2, 3])])
def test_message_over_the_limit(data: Any) -> None:
    with pytest.raises(
        MessageTooLargeError,
        match=r"message of 1\d bytes .* limit of 10; raise max_message_size at both ends",
    ):
        message_bytes(data, 10)


@pytest.mark.parametrize("limit", [0, -1, MAX_LENGTH + 1])
def test_impossible_limit(limit: int) -> None:
    with pytest.raises(ValueError, match=str(limit)):
        Decoder(limit)


@pytest.mark.parametrize("limit", ["10", 10.0, True, None])
def test_limit_of_a_wrong_type(limit: Any) -> None:
    with pytest.raises(TypeError, match="max_message_size"):
        Decoder(limit)


def test_the_limit_is_checked_before_the_copy() -> None:
    data = bytearray(30 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLargeError):
            message_bytes(data, 10)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.covers("FRM-6", "FRM-11")
def test_limits_are_those_of_the_specification() -> None:
    assert Decoder().max_message_size == 67_108_864
    assert Decoder(4_294_967_295).max_message_size == 4_294_967_295
    with pytest.raises(ValueError, match="4294967296, not within 1 and 4294967295"):
        Decoder(4_294_967_296)
