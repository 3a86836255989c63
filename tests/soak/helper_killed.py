"""Helpers that echo are killed; the service checks what came back, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ipc_channel import (
    Helper,
    HelperError,
    IPCChannel,
    PeerGoneError,
    ResetError,
    TruncatedError,
    make_ipc_channel,
)
from soak.messages import messages
from soak.tally import WrongError
from soak.trial import Trial, kill, soon

_EARLY = 0.1  # of the helpers are killed on their way to connecting


async def run(trial: Trial, name: str, command: Sequence[str]) -> None:
    """Start a helper on one channel a few times, and kill it each time."""
    helper = Helper(command, make_ipc_channel(transport=trial.transport), grace=30)
    try:
        for session in range(trial.chance.randint(1, 4)):
            label = f"{trial.seed}/{trial.number}/{session}"
            await _session(trial, helper, label)
            trial.count_kill(f"{name} helper")
    finally:
        await soon("stop", helper.stop())


async def _session(trial: Trial, helper: Helper, label: str) -> None:
    starting = asyncio.create_task(helper.start())
    if trial.chance.random() < _EARLY:
        await asyncio.sleep(trial.chance.random() * 0.15)
        await _kill_the_helper(helper, starting)
    try:
        channel = await soon("start", starting)
    except HelperError:
        trial.tally.ends[f"{trial.transport}: killed before it connected"] += 1
        return
    writing = asyncio.create_task(_write(channel, label))
    killing = asyncio.create_task(_kill_after(trial.delay(), helper))
    try:
        got = await soon("reading", _read(trial, channel, label))
        trial.check_end(channel.end_reason, got)
        sent = await soon("writing", writing)
        if got > sent:
            raise WrongError(f"{got} messages came back, and only {sent} were written")
    finally:
        writing.cancel()
        await asyncio.wait({writing, killing})
        if await soon("the killed helper", helper.process.wait()) != -9:
            raise WrongError(f"the helper ended by itself: {helper.process.returncode}")


async def _kill_the_helper(helper: Helper, starting: asyncio.Task[IPCChannel]) -> None:
    """Kill the helper that is being started, once there is one."""
    before = _pid(helper)
    while _pid(helper) == before and not starting.done():
        await asyncio.sleep(0)
    await _kill_after(0, helper)


async def _kill_after(delay: float, helper: Helper) -> None:
    await asyncio.sleep(delay)
    pid = _pid(helper)
    if pid is not None:
        kill(pid)


def _pid(helper: Helper) -> int | None:
    try:
        process = helper.process
    except HelperError:
        return None
    return process.pid if process.returncode is None else None


async def _write(channel: IPCChannel, label: str) -> int:
    """Write until the helper has gone; return how many messages were given to write."""
    given = 0
    for message in messages(label):
        given += 1  # even a write that fails may have brought its message there
        try:
            await channel.write(message)
        except (PeerGoneError, ResetError):
            break
    return given


async def _read(trial: Trial, channel: IPCChannel, label: str) -> int:
    """Compare each message that comes back; return how many there were."""
    got = 0
    expected = messages(label)
    try:
        async for message in channel:
            if message != (wanted := next(expected)):
                raise WrongError(
                    f"message {got} has {len(message)} bytes, {message[:20]!r}…, "
                    f"instead of {len(wanted)}, {wanted[:20]!r}…"
                )
            got += 1
            trial.tally.read(len(message))
    except (TruncatedError, ResetError):
        pass
    return got
