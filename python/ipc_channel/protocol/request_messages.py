"""The messages of the requests layer (spec/requests.md); no I/O."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ipc_channel.errors import BadMessageError, MessageTooLargeError, RequestError

if TYPE_CHECKING:
    from typing_extensions import Buffer


# The kinds of messages, which are the first byte; its first half is the version of the layer.
# Plain numbers, as members of an enumeration would take time in each call.
REQUEST: Final = 0x11
ANSWER: Final = 0x12
ERROR: Final = 0x13
CANCEL: Final = 0x14

HEAD: Final = struct.Struct(">BI")
"""Kind and id."""
HEAD_SIZE: Final = HEAD.size
MOST_OPEN_REQUESTS: Final = 1024
"""How many requests a caller may have open unless both ends agree on another number."""
LEAST_LIMIT: Final = HEAD_SIZE + 1 + 64
"""The smallest ``max_message_size``: an error with the longest code has to fit."""
_SHOWN = 16  # bytes of a bad message


class AnswerTooLargeError(MessageTooLargeError):
    """A handler has returned an answer that is larger than a message may be."""


def check_limit(limit: int) -> None:
    """Raise ValueError if the largest message is too small for the layer (REQ-17)."""
    if limit < LEAST_LIMIT:
        raise ValueError(
            f"max_message_size is {limit}, but requests need at least {LEAST_LIMIT}: raise it"
            " at both ends"
        )


def encode(kind: int, number: int, payload: Buffer, limit: int) -> bytes:
    """Return a request or an answer as a message of at most ``limit`` bytes."""
    data = payload if type(payload) is bytes else _as_bytes(payload)
    if HEAD_SIZE + len(data) > limit:
        what = "request" if kind == REQUEST else "answer"
        raise (MessageTooLargeError if kind == REQUEST else AnswerTooLargeError)(
            f"the {what} has {len(data)} bytes, and with the {HEAD_SIZE} of its head"
            f" exceeds max_message_size = {limit}: send less, or raise it at both ends"
        )
    return HEAD.pack(kind, number) + data


def encode_error(number: int, error: RequestError, limit: int) -> bytes:
    """Return an error as a message, with its text cut to ``limit`` bytes in all."""
    code = error.code.encode("ascii")
    head = HEAD.pack(ERROR, number) + bytes([len(code)]) + code
    text = str(error).encode("utf-8", "replace")[: max(limit - len(head), 0)]
    return head + text.decode("utf-8", "ignore").encode()


def encode_cancel(number: int) -> bytes:
    """Return a cancel as a message."""
    return HEAD.pack(CANCEL, number)


def decode_head(message: bytes) -> tuple[int, int]:
    """Return the kind and the id of a message; raise BadMessageError without them."""
    if len(message) < HEAD_SIZE:
        raise bad_message(message, f"it has fewer than {HEAD_SIZE} bytes")
    kind, number = HEAD.unpack_from(message)
    return kind, number


def decode_error(message: bytes) -> RequestError:
    """Return the error that a message of the kind ERROR carries."""
    begin = HEAD_SIZE + 1
    end = begin + message[HEAD_SIZE] if len(message) > HEAD_SIZE else 0
    code = message[begin:end].decode("ascii", "replace")
    if end > len(message):
        raise bad_message(message, "it is an error that ends within its code")
    try:
        return RequestError(message[end:].decode("utf-8", "replace"), code=code)
    except ValueError as error:
        raise bad_message(message, str(error)) from None


def bad_message(message: bytes, why: str) -> BadMessageError:
    """Return the error for a message that the layer does not allow."""
    shown = message[:_SHOWN].hex(" ") + (" …" if len(message) > _SHOWN else "")
    return BadMessageError(
        f"received no message of the requests layer: {why}; it begins with {shown}, of"
        f" {len(message)} bytes. Both ends must use requests, and nothing else, on a channel"
    )


def _as_bytes(payload: Buffer) -> bytes:
    try:
        return bytes(memoryview(payload))
    except TypeError:
        kind = type(payload).__name__
        hint = ": encode it, or pass a codec" if isinstance(payload, str) else ""
        raise TypeError(
            f"a payload or an answer must be a bytes-like object, not {kind}{hint}"
        ) from None
