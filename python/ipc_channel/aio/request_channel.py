"""Requests and answers over a channel (spec/requests.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from ipc_channel.aio.endpoint import Endpoint
from ipc_channel.aio.handling import Handling
from ipc_channel.aio.request_line import Call, RequestLine, claim
from ipc_channel.channel import IPCChannelClient
from ipc_channel.codec import (
    Codec,
    Received,
    Sent,
    check_codec,
    decode_answer,
    encode,
    with_codec,
)
from ipc_channel.errors import NotConnectedError
from ipc_channel.options import check_count, check_seconds
from ipc_channel.protocol.exchange import call_timeout
from ipc_channel.protocol.request_messages import MOST_OPEN_REQUESTS

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ipc_channel.aio.handling import Handler


class RequestChannel(Generic[Sent, Received]):
    """Sends requests over a connected channel, and answers those of the other end::

        async with Helper(["./helper"]) as channel:
            requests = RequestChannel(channel)
            answer = await requests.call(b"question", timeout=10)

    The other end has to use requests as well, for instance with :func:`serve`. From now on
    all messages of the session belong to this RequestChannel: make only one, and do not read
    from the channel or write to it. A channel that has connected again needs a new one.

    Arguments:
        channel: a connected channel. Whoever has opened it closes it; then each call that
            waits raises ChannelClosedError.
        max_open: how many requests may be open at once, in either direction, by default
            1,024. Further calls wait. Both ends need the same number (spec/requests.md,
            REQ-7).
        codec: a :class:`Codec`, such as ``JSON``, for objects in place of bytes, in requests
            and answers of both directions. A ``Codec[Sent, Received]`` makes this a
            ``RequestChannel[Sent, Received]``.
        serves: whether this end is going to call :meth:`serve`: requests that arrive before
            wait for it. Otherwise they are answered with the error ``unserved`` if a call
            reads them, so pass True if you serve in one task and call in another.

    Raises NotConnectedError if the channel has no session, RuntimeError if it has a
    RequestChannel already, and ValueError if its ``max_message_size`` is less than 70
    (REQ-17).
    """

    def __init__(
        self,
        channel: IPCChannelClient,
        *,
        max_open: int = MOST_OPEN_REQUESTS,
        codec: Codec[Sent, Received] | None = None,
        serves: bool = False,
    ) -> None:
        if not isinstance(channel, Endpoint):
            raise TypeError(
                "channel is a channel of this package, without 'sync', not"
                f" {type(channel).__name__}; pass what Helper or make_ipc_channel gives you"
            )
        if channel.session is None:
            raise NotConnectedError("the channel is not connected: call connect first")
        check_codec(codec)
        check_count("max_open", max_open)
        claim(channel.session)
        self._codec = codec
        self._name = str(channel)
        self._max_open = max_open
        self._line = RequestLine(channel.session, max_open, serves=serves)

    @property
    def open_requests(self) -> int:
        """How many requests of this end are not answered yet, cancelled ones included."""
        return len(self._line.open)

    @property
    def cancelled_since(self) -> float | None:
        """When the oldest of the cancelled requests was cancelled that are still not answered.

        In terms of ``loop.time()``; None without such a request. A helper that leaves one
        unanswered for long hangs.
        """
        times = (call.cancelled_at for call in self._line.open.values())
        return min((time for time in times if time is not None), default=None)

    async def call(self, payload: Sent, timeout: float | None = None) -> Received:
        """Send a request, and return the answer.

        ``payload`` is any bytes-like object, which may be empty; with a codec, an object
        that it can encode. Any number of tasks may call at once. Waits while ``max_open``
        requests are open. If it is cancelled, or ``timeout`` seconds are over, of which that
        waiting is a part, the other end is told to cancel the request, and the answer is
        dropped when it comes.

        Raises RequestError if the other end answers with an error; CallTimeoutError, a
        TimeoutError, after ``timeout`` seconds, whose ``sent`` is 0 if the request was not
        sent; UnansweredError if the session ends before
        the answer comes, which leaves open whether the request was dealt with;
        ChannelClosedError if this end has closed; BadMessageError if the other end sends
        something else than requests and answers; MessageTooLargeError or TypeError for a
        payload that cannot be sent; BadAnswerError if the codec cannot decode the answer.
        It never sends a request twice.
        """
        codec = self._codec
        data: Any = payload if codec is None else encode(codec, payload, "request")
        if timeout is None:
            answer: Any = await self._line.call(data, Call())
        else:
            answer = await self._call_in_time(data, timeout)
        result: Received = answer if codec is None else decode_answer(codec, answer)
        return result

    async def _call_in_time(self, data: Buffer, timeout: float) -> bytes:
        check_seconds("timeout", timeout)
        limit = asyncio.timeout(timeout)
        call = Call()
        try:
            async with limit:
                return await self._line.call(data, call)
        except TimeoutError:
            if not limit.expired():
                raise
            raise call_timeout(timeout, self._max_open, sent=call.sent) from None

    async def serve(
        self,
        handler: Callable[[Received], Awaitable[Sent] | Sent],
        *,
        concurrency: int | None = None,
    ) -> None:
        """Answer the requests of the other end until the session ends.

        ``handler`` gets the payload, and returns the answer, which is bytes-like; with a
        codec, both are objects. It may be a coroutine function or a plain one: that runs in
        the event loop without a task of its own, which costs less. To answer with an error,
        it raises RequestError. Any other exception becomes an error with the code
        ``failed``, and is logged. If the other end cancels the request, or the session
        ends, the handler is cancelled.

        At most ``concurrency`` handlers run at once, by default as many as there are open
        requests; further requests wait for their turn.

        Returns at an orderly end, and raises what ``read`` raises at any other one, or
        BadMessageError. If it is cancelled, so are the handlers, and their requests are
        answered with the error ``cancelled``. SystemExit and KeyboardInterrupt that a
        handler raises end the event loop.
        """
        line, early = self._line, self._line.handling
        if isinstance(early, Handling):
            raise RuntimeError(f"{self._name} is being served already")  # noqa: TRY004  # a state
        if not callable(handler):
            raise TypeError(f"handler is a callable, not {type(handler).__name__}")
        if concurrency is not None:
            check_count("concurrency", concurrency)
        most = self._max_open
        handle: Any = handler if self._codec is None else with_codec(self._codec, handler)
        line.handling = handling = Handling(handle, concurrency or most, most, line.sender)
        try:
            if early is not None and not line.is_over():
                handling.begin_all(early.hand_over())
            await line.listen()
        finally:
            line.handling = None
            await handling.stop(answers=not line.is_over())
        if line.read_error is not None:
            raise line.read_error.copy_to_raise()

    async def wait_ended(self) -> None:
        """Wait until the session has ended, and each call was answered or has failed."""
        await self._line.wait_ended()

    def __repr__(self) -> str:
        return f"<RequestChannel over {self._name}, {self.open_requests} open>"


@overload
async def serve(
    channel: IPCChannelClient, handler: Handler, *, concurrency: int | None = None
) -> None: ...
@overload
async def serve(
    channel: IPCChannelClient,
    handler: Callable[[Received], Awaitable[Sent] | Sent],
    *,
    concurrency: int | None = None,
    codec: Codec[Sent, Received],
) -> None: ...
async def serve(
    channel: IPCChannelClient,
    handler: Callable[[Any], Any],
    *,
    concurrency: int | None = None,
    codec: Codec[Any, Any] | None = None,
) -> None:
    """Answer the requests that come over a connected channel until its session ends::

        async def main(channel):
            await serve(channel, handler)

        run_helper(main)

    See :class:`RequestChannel` for ``codec``, and :meth:`RequestChannel.serve` for the
    rest. To send requests as well, make a RequestChannel.
    """
    requests = RequestChannel(channel, codec=codec)
    await requests.serve(handler, concurrency=concurrency)
