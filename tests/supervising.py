"""Supervised helpers for tests, and whether the events about them can be true."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

from helper_programs import connected, program
from ipc_channel import (
    IPCChannel,
    IPCChannelError,
    Supervisor,
    SupervisorEvent,
)

NO_PAUSE = (0.0, 0.0)

WELL = """
os.write(w, b"\\0\\0\\0\\4well\\0\\0\\0\\0")
while os.read(r, 1 << 16): pass
"""
"""Code of a helper that says ``well``, closes its channel, and exits with status 0."""

MET = "os.read(r, 6)"
"""Code of a helper that waits for ``go``: so it was met, and has connected for certain."""

_NEXT: dict[str | None, set[str | None]] = {
    None: {"starting", None},
    "starting": {"connected", "lost", "stopped"},
    "connected": {"lost", "finished", "stopped"},
    "lost": {"restarting", "given_up", "stopped"},
    "finished": {"restarting", "stopped", None},
    "restarting": {"starting", "stopped"},
    "stopped": {"starting", None},
    "given_up": {None},
}
"""Which events may follow which; None stands for the begin and for the end."""


def check_story(events: list[SupervisorEvent]) -> None:
    """Fail unless the events of a supervisor that has ended are a story from the beginning."""
    kinds: list[str | None] = [None, *(event.kind for event in events), None]
    for before, after in itertools.pairwise(kinds):
        assert after in _NEXT[before], kinds
    attempt, pid = 0, None
    for event in events:
        assert str(event)
        if event.kind == "starting":
            attempt, pid = attempt + 1, None
        elif event.kind == "connected":
            pid = event.pid
            assert pid is not None
        elif event.kind in ("lost", "finished") or event.end_reason is not None:
            assert event.pid == pid or event.reason == "not_connected"
            assert event.result is None or event.result.pid == event.pid
        assert event.attempt == attempt + (event.kind == "restarting")
        assert (event.reason is not None) == (event.kind == "lost")
        assert (event.delay is not None) == (event.kind == "restarting")


def at_first(flag: Path, bad: str, good: str = WELL) -> list[str]:
    """Return the command of a helper that runs ``bad`` first, and ``good`` from then on.

    It runs ``bad`` once it was met.
    """
    return connected(_switch(flag, f"{MET}\n{bad}", good))


def unconnected_at_first(flag: Path, bad: str) -> list[str]:
    """Return the command of a helper that runs ``bad`` first, without connecting."""
    (*_, code) = connected(WELL)
    return program("import os\n" + _switch(flag, bad, code))


def _switch(flag: Path, bad: str, good: str) -> str:
    def indented(code: str) -> str:
        return "".join(f"    {line}\n" for line in code.splitlines())

    return (
        f"flag = {str(flag)!r}\n"
        "if os.path.exists(flag):\n"
        f"{indented(good)}"
        "else:\n"
        "    os.close(os.open(flag, os.O_CREAT))\n"
        f"{indented(bad)}"
    )


async def read_all(channel: IPCChannel) -> list[bytes]:
    """Say ``go``, and return the messages of a session, however it ends."""
    messages = []
    with contextlib.suppress(IPCChannelError):
        await channel.write(b"go")
    with contextlib.suppress(IPCChannelError):
        async for message in channel:
            messages.append(message)
    return messages


async def supervise(
    helper: Any, **options: Any
) -> tuple[list[list[bytes]], list[SupervisorEvent]]:
    """Read all that a helper sends in each of its lives; return that, and the events."""
    events: list[SupervisorEvent] = []
    lives = []
    options = {"backoff": NO_PAUSE, **options}
    async with Supervisor(helper, on_event=events.append, **options) as supervisor:
        async for channel in supervisor:
            lives.append(await read_all(channel))
    check_story(events)
    return lives, events


def only(events: list[SupervisorEvent], kind: str) -> SupervisorEvent:
    """Return the one event of a kind."""
    (event,) = (event for event in events if event.kind == kind)
    return event
