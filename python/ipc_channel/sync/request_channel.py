"""Requests and answers over a blocking channel (spec/requests.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from ipc_channel.aio.request_line import claim
from ipc_channel.codec import (
    Codec,
    Received,
    Sent,
    check_codec,
    decode_answer,
    encode,
    is_async,
    with_codec,
)
from ipc_channel.errors import CallTimeoutError, NotConnectedError
from ipc_channel.options import check_count, check_seconds
from ipc_channel.protocol.exchange import call_timeout
from ipc_channel.protocol.request_messages import MOST_OPEN_REQUESTS
from ipc_channel.sync.channel import IPCChannelClient, parts_of
from ipc_channel.sync.request_handling import Handling
from ipc_channel.sync.request_line import RequestLine
from ipc_channel.sync.request_turn import Call

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ipc_channel.sync.request_handling import Handler


class RequestChannel(Generic[Sent, Received]):
    """Sends requests over a connected blocking channel, and answers the other end's::

        with Helper(["./helper"]) as channel:
            requests = RequestChannel(channel)
            answer = requests.call(b"question", timeout=10)

    See :class:`ipc_channel.RequestChannel`. Any number of threads may use it at once.
    Between calls nothing runs: an answer that comes too late, a request of the other end,
    or the end of the session is noticed by the next call.
    """

    def __init__(
        self,
        channel: IPCChannelClient,
        *,
        max_open: int = MOST_OPEN_REQUESTS,
        codec: Codec[Sent, Received] | None = None,
        serves: bool = False,
    ) -> None:
        if not isinstance(channel, IPCChannelClient):
            raise TypeError(
                "channel is a channel of ipc_channel.sync, not"
                f" {type(channel).__name__}; pass what its Helper or make_ipc_channel gives"
            )
        driver, end = parts_of(channel)
        session = end.session
        if session is None:
            raise NotConnectedError("the channel is not connected: call connect first")
        check_codec(codec)
        self._max_open = check_count("max_open", max_open)
        claim(session)
        self._codec = codec
        self._channel = channel
        self._line = RequestLine(
            channel,
            driver,
            session,
            max_open,
            serves=serves,
        )

    @property
    def open_requests(self) -> int:
        """How many requests of this end are not answered yet, cancelled ones included."""
        return len(self._line.open)

    def call(self, payload: Sent, timeout: float | None = None) -> Received:
        """Send a request, and return the answer.

        See :meth:`ipc_channel.RequestChannel.call`. If it is interrupted, for instance by
        Ctrl-C, the request is cancelled.
        """
        codec = self._codec
        data: Any = payload if codec is None else encode(codec, payload, "request")
        if timeout is None:
            answer: Any = self._line.call(data, None, Call())
        else:
            answer = self._call_in_time(data, timeout)
        result: Received = answer if codec is None else decode_answer(codec, answer)
        return result

    def _call_in_time(self, data: Buffer, timeout: float) -> bytes:
        deadline = self._line.clock() + check_seconds("timeout", timeout)
        call = Call()
        try:
            return self._line.call(data, deadline, call)
        except CallTimeoutError:
            raise call_timeout(timeout, self._max_open, sent=not call.unsent) from None

    def serve(self, handler: Callable[[Received], Sent], *, concurrency: int = 1) -> None:
        """Answer the requests of the other end until the session ends.

        ``handler`` gets the payload, and returns the answer, which is bytes-like; with a
        codec, both are objects. To answer with an error, it raises RequestError; any other
        exception becomes an error with the code ``failed``, and is logged. It runs in
        ``concurrency`` threads, of which this one is the first. A handler that takes long
        asks now and then whether :func:`request_cancelled`. A coroutine function cannot be
        a handler here, and raises TypeError.

        Returns at an orderly end, and raises what ``read`` raises at any other one, or
        BadMessageError. If it is interrupted, or a handler calls ``sys.exit``, it ends the
        session, waits for the handlers that run, and raises KeyboardInterrupt or SystemExit.
        """
        if not callable(handler):
            raise TypeError(f"handler is a callable, not {type(handler).__name__}")
        if is_async(handler):
            raise TypeError(
                "handler is a coroutine function, which needs an event loop: pass a plain"
                " function, or use ipc_channel.serve in ipc_channel.run_helper"
            )
        check_count("concurrency", concurrency)
        line = self._line
        handle: Any = handler if self._codec is None else with_codec(self._codec, handler)
        handling = Handling(
            line, handle, concurrency, self._max_open, self._channel.disconnect
        )
        with line.lock:
            early = line.handling
            if isinstance(early, Handling):
                raise RuntimeError(f"{self._channel} is being served already")  # noqa: TRY004  # a state
            line.handling = handling
            if early is not None and not line.is_over():
                for number, payload in early.hand_over().items():
                    handling.begin(number, payload)
        mine, *others = handling.workers
        threads = [
            threading.Thread(target=handling.run_in_thread, args=[one]) for one in others
        ]
        try:
            for thread in threads:
                thread.start()
            handling.run(mine)
        except BaseException:
            self._channel.disconnect()  # as other threads may be reading
            raise
        finally:
            for thread in threads:
                if thread.ident is not None:  # it was started
                    thread.join()
            line.handling = None
        if handling.failure is not None:
            raise handling.failure
        if line.read_error is not None:
            raise line.read_error.copy_to_raise()

    def __repr__(self) -> str:
        return f"<RequestChannel over {self._channel}, {self.open_requests} open>"


@overload
def serve(channel: IPCChannelClient, handler: Handler, *, concurrency: int = 1) -> None: ...
@overload
def serve(
    channel: IPCChannelClient,
    handler: Callable[[Received], Sent],
    *,
    concurrency: int = 1,
    codec: Codec[Sent, Received],
) -> None: ...
def serve(
    channel: IPCChannelClient,
    handler: Callable[[Any], Any],
    *,
    concurrency: int = 1,
    codec: Codec[Any, Any] | None = None,
) -> None:
    """Answer the requests that come over a connected channel until its session ends::

        def main(channel):
            serve(channel, handler)

        run_helper(main)

    See :class:`ipc_channel.RequestChannel` for ``codec``, and :meth:`RequestChannel.serve`
    for the rest. To send requests as well, make a RequestChannel.
    """
    RequestChannel(channel, codec=codec).serve(handler, concurrency=concurrency)
