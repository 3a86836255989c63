"""The messages that have arrived, and readers' shares of them, in a session's own inbox."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from conftest import Connect
from ipc_channel import SessionInterruptedError
from ipc_channel.aio.inbox import TURN
from raw import PATIENCE, frame


class Interrupt(BaseException):
    """As of a signal handler."""


def interrupt() -> None:
    raise Interrupt


@pytest.mark.covers("SES-10")
async def test_an_interrupt_as_a_share_ends_loses_none_of_equal_messages(
    connect: Connect,
) -> None:
    """Messages of one byte are one object: none may be taken for the one behind it."""
    async with connect() as (ours, _):
        inbox = ours.session.inbox  # type: ignore[attr-defined]  # looks inside
        inbox._on_rest = interrupt
        inbox.messages += [b"x"] * (TURN + 1)
        inbox.begin_turn()
        got = [inbox.read_nowait() for _ in range(TURN - 1)]
        with pytest.raises(Interrupt):
            inbox.read_nowait()
        assert got == [b"x"] * (TURN - 1)
        assert len(inbox.messages) == 2
        assert ours.connected, "no byte of the peer's was on its way"


@pytest.mark.covers("SES-10")
async def test_an_interrupt_as_reading_is_to_go_on_ends_the_session(
    connect: Connect,
) -> None:
    """The loop may not watch any more: what came would never be noticed."""
    async with connect() as (ours, _):
        session = ours.session  # type: ignore[attr-defined]  # looks inside
        session.receiver.pause()
        session.inbox._on_space = interrupt
        session.inbox.messages.append(b"x")
        with pytest.raises(Interrupt):
            await ours.read()
        assert await ours.read() == b"x"
        with pytest.raises(SessionInterruptedError):
            await ours.read()


@contextlib.asynccontextmanager
async def reading(connect: Connect) -> Any:
    """Give a channel that has read the first of ten messages, and its peer."""
    async with connect() as (ours, peer):
        inbox = ours.session.inbox  # type: ignore[attr-defined]  # looks inside
        inbox.messages += [b"x"] * 10
        inbox.begin_turn()
        assert await ours.read() == b"x"
        yield ours, peer


async def test_what_was_not_read_is_dropped_by_an_abort(connect: Connect) -> None:
    async with reading(connect) as (ours, _):
        ours.abort()
        assert await ours.read() is None
        assert ours.end_reason == "local"


async def test_what_was_not_read_is_dropped_as_a_close_begins(connect: Connect) -> None:
    async with reading(connect) as (ours, peer):
        closing = asyncio.create_task(ours.close())
        await asyncio.sleep(0)
        assert await ours.read() is None
        assert ours.end_reason == "local"
        peer.close()
        await closing


@pytest.mark.covers("SES-10")
async def test_what_an_interrupt_kept_from_a_reader_comes_in_the_next_turn(
    connect: Connect,
) -> None:
    loop = asyncio.get_running_loop()
    seen: list[Any] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    async with connect() as (ours, peer):
        inbox = ours.session.inbox  # type: ignore[attr-defined]  # looks inside
        deliver = inbox._deliver

        def interrupt() -> None:
            inbox._deliver = deliver
            raise Interrupt

        reading = asyncio.create_task(ours.read())
        await asyncio.sleep(0)
        inbox._deliver = interrupt
        peer.send(frame(b"late"))
        assert await asyncio.wait_for(reading, PATIENCE) == b"late"
        assert [type(error) for error in seen] == [Interrupt]


async def test_the_transport_is_told_of_an_end_by_an_interrupt(connect: Connect) -> None:
    """A server lets the next peer in, or makes new names, from then on."""
    told: list[bool] = []
    async with connect() as (ours, _):
        session = ours.session  # type: ignore[attr-defined]  # looks inside
        session.stream.on_end = lambda: told.append(True)
        session._on_interrupt(Interrupt())
        assert told
        with pytest.raises(SessionInterruptedError):
            await ours.read()
