"""Unix sockets as on macOS, where they are the default: without all that Linux adds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from other_users import STRANGER, needs_root
from raw import frame
from unix_sockets import REFUSED, visit

PROGRAM = Path(__file__).parents[1] / "macos_mode.py"
WELCOME = {repr(frame(b"welcome")).encode()}


async def begin(*arguments: object) -> asyncio.subprocess.Process:
    command = [sys.executable, "-X", "dev", "-W", "error", str(PROGRAM)]
    return await asyncio.create_subprocess_exec(
        *command, *map(str, arguments), stdout=subprocess.PIPE
    )


async def path_of(service: asyncio.subprocess.Process) -> str:
    assert service.stdout
    return (await service.stdout.readline()).decode().strip()


@pytest.mark.covers("RDV-61", "RDV-69")
async def test_sessions_and_removal(place: Path) -> None:
    service = await begin("session", place)
    await service.communicate()
    assert service.returncode == 0
    assert list(place.iterdir()) == []


@needs_root
@pytest.mark.covers("RDV-64")
async def test_a_stranger_is_refused(place: Path) -> None:
    service = await begin("path", place)
    path = await path_of(service)
    assert await visit(path) <= REFUSED
    assert await visit(path, os.geteuid()) == WELCOME
    await service.communicate()
    assert service.returncode == 0


@needs_root
@pytest.mark.covers("RDV-64")
async def test_an_allowed_user(place: Path) -> None:
    service = await begin("others", place, STRANGER)
    path = await path_of(service)
    assert await visit(path, STRANGER + 1) <= REFUSED
    assert await visit(path, STRANGER) == WELCOME
    await service.communicate()
    assert service.returncode == 0
