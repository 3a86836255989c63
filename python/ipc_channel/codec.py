"""Objects in place of bytes, in requests and answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from ipc_channel.errors import BadAnswerError, RequestError

if TYPE_CHECKING:
    from typing_extensions import Buffer, TypeVar

    # The defaults say what is sent and received without a codec.
    Sent = TypeVar("Sent", default=Buffer)
    Received = TypeVar("Received", default=bytes)
else:
    from typing import TypeVar

    Sent = TypeVar("Sent")
    Received = TypeVar("Received")


@dataclass(frozen=True)
class Codec(Generic[Sent, Received]):
    """How this end turns the objects that it sends into bytes, and bytes into objects::

        requests = RequestChannel(channel, codec=Codec(msgpack.packb, msgpack.unpackb))
        answer = await requests.call({"path": "/tmp"})

    ``JSON`` is a codec that is ready to use. Nothing of it goes over the wire: both ends
    have to agree, and the other end may be in another language.

    If ``encode`` fails, the caller gets a TypeError, and nothing is sent. If ``decode``
    fails, a request is answered with the error code ``failed``, and for an answer the
    caller gets BadAnswerError.
    """

    encode: Callable[[Sent], Buffer]
    """Returns the bytes of an object; raises any exception for one that it cannot encode."""
    decode: Callable[[bytes], Received]
    """Returns the object; raises any exception for bytes that it cannot decode."""

    def __post_init__(self) -> None:
        for name in ("encode", "decode"):
            if not callable(function := getattr(self, name)):
                kind = type(function).__name__
                raise TypeError(f"{name} of a codec is a callable, not {kind}")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _encode_json(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def _decode_json(data: bytes) -> Any:
    return json.loads(data.decode())  # of bytes alone it would also take UTF-16


JSON: Codec[Any, Any] = Codec(_encode_json, _decode_json)
"""JSON in UTF-8 (RFC 8259). Keys of objects become strings; NaN and infinities are refused."""


def check_codec(codec: Any) -> None:
    """Raise TypeError unless this is a codec or None."""
    if codec is not None and not isinstance(codec, Codec):
        kind = type(codec).__name__
        raise TypeError(f"codec is a Codec, such as ipc_channel.JSON, not {kind}")


def encode(codec: Codec[Any, Any], value: Any, what: str) -> Buffer:
    """Return the bytes of a request or an answer, or raise TypeError."""
    try:
        data = codec.encode(value)
    except Exception as error:
        raise TypeError(
            f"the codec cannot encode the {what}, a {type(value).__name__}: {_named(error)}"
        ) from error
    if type(data) is not bytes:
        try:
            memoryview(data)
        except TypeError:
            kind = type(data).__name__
            raise TypeError(
                f"encode of the codec has returned {kind} for the {what}: it has to return bytes"
            ) from None
    return data


def decode_request(codec: Codec[Any, Any], data: bytes) -> Any:
    """Return the object, or raise the error that the caller is told."""
    try:
        return codec.decode(data)
    except Exception as error:
        raise RequestError(
            f"the codec cannot decode the request of {len(data)} bytes: {_named(error)}"
        ) from error


def decode_answer(codec: Codec[Any, Any], data: bytes) -> Any:
    """Return the object, or raise BadAnswerError."""
    try:
        return codec.decode(data)
    except Exception as error:
        raise BadAnswerError(
            f"the codec cannot decode the answer of {len(data)} bytes: {_named(error)}",
            data,
        ) from error


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling a handler only makes a coroutine, as far as can be told."""
    call = getattr(handler, "__call__", None)  # noqa: B004  # of an object with this method
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


def with_codec(
    codec: Codec[Any, Any], handler: Callable[[Any], Any]
) -> Callable[[bytes], Any]:
    """Return a handler of bytes for a handler of objects, which may be asynchronous."""

    async def handle_async(payload: bytes) -> Any:
        return encode(codec, await handler(decode_request(codec, payload)), "answer")

    def handle(payload: bytes) -> Any:
        answer = handler(decode_request(codec, payload))
        if inspect.isawaitable(answer):
            return _encode_later(codec, answer)
        return encode(codec, answer, "answer")

    return handle_async if is_async(handler) else handle


async def _encode_later(codec: Codec[Any, Any], answer: Awaitable[Any]) -> Buffer:
    return encode(codec, await answer, "answer")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
