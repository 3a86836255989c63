"""The calls of a pool: each is sent until it is answered, or may not be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipc_channel.errors import (
    BadMessageError,
    CallTimeoutError,
    ChannelClosedError,
    IPCChannelError,
    RequestError,
    SessionInterruptedError,
    UnansweredError,
)
from ipc_channel.pool.balancer import Balancer
from ipc_channel.pool.place import Place

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LOST = (UnansweredError, BadMessageError, ChannelClosedError, SessionInterruptedError)
"""What a call raises whose helper is lost; all but the first if this end ends the session."""


class Calls:
    """Sends calls, and counts what becomes of them."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self.answered = self.failed = self.retried = 0

    async def call(self, payload: Buffer, timeout: float | None, retries: int) -> bytes:
        """Return the answer; send the call again so many times at most."""
        try:
            answer = await self._call(payload, timeout, retries)
        except RequestError:
            self.answered += 1
            raise
        except BaseException:
            self.failed += 1
            raise
        self.answered += 1
        return answer

    async def _call(self, payload: Buffer, timeout: float | None, retries: int) -> bytes:
        before: Place | None = None
        tries = 0
        while True:
            place, requests = await self._balancer.take(before)
            answered = False
            try:
                answer = await requests.call(payload, timeout)
                answered = True
            except RequestError:
                answered = True
                raise
            except _LOST as error:
                place.forget(requests, error)
                sent = getattr(error, "sent", True)
                if sent and not (retries and self._balancer.is_open):
                    raise self._failure(error, place, tries + 1) from error.__cause__
            except CallTimeoutError:
                if not retries:
                    raise
                sent = True
            finally:
                self._balancer.give_back(place, requests, answered=answered)
            if answered:
                return answer
            retries -= sent
            self.retried += sent
            tries += sent
            before = place

    def _failure(self, error: IPCChannelError, place: Place, tries: int) -> IPCChannelError:
        """Return what a call raises whose helper is lost."""
        times = f" (sent {tries} times)" if tries > 1 else ""
        helper = f"helper {place.helper_name} was lost{times}"
        if isinstance(error, UnansweredError):
            return UnansweredError(f"{helper}: {error}", error.end_reason)
        if isinstance(error, ChannelClosedError) and self._balancer.is_open:
            return UnansweredError(
                f"{helper}, and no answer came: the request may or may not have been dealt with"
            )
        return error
