"""The messages that have arrived, and readers' shares of them, in a session's own inbox."""

from __future__ import annotations

import pytest

from conftest import Connect
from ipc_channel.aio.inbox import TURN


class Interrupt(BaseException):
    """As of a signal handler."""


@pytest.mark.covers("SES-10")
async def test_an_interrupt_as_a_share_ends_loses_none_of_equal_messages(
    connect: Connect,
) -> None:
    """Messages of one byte are one object: none may be taken for the one behind it."""

    def interrupt() -> None:
        raise Interrupt

    async with connect() as (ours, _):
        inbox = ours._session.inbox  # type: ignore[attr-defined]  # looks inside
        inbox._on_rest = interrupt
        inbox._messages += [b"x"] * (TURN + 1)
        inbox.begin_turn()
        got = [inbox.read_nowait() for _ in range(TURN - 1)]
        with pytest.raises(Interrupt):
            inbox.read_nowait()
        assert got == [b"x"] * (TURN - 1)
        assert len(inbox._messages) == 2


async def test_what_was_not_read_is_dropped_by_a_close(connect: Connect) -> None:
    async with connect() as (ours, peer):
        inbox = ours._session.inbox  # type: ignore[attr-defined]  # looks inside
        inbox._messages += [b"x"] * 10
        inbox.begin_turn()
        assert await ours.read() == b"x"
        peer.close()
        await ours.close()
        assert await ours.read() is None
