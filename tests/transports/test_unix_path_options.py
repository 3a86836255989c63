"""The options of a server at a path: which paths and modes there are."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import BadRendezvousError, make_ipc_channel, make_ipc_channel_client
from odd_paths import NAMES
from unix_sockets import has_session, path_of, serve


@pytest.mark.covers("RDV-60")
def test_a_path_that_is_too_long(place: Path) -> None:
    path = place / ("x" * (103 - len(str(place)) - 1))
    asyncio.run(serve(path=path).close())
    with pytest.raises(BadRendezvousError, match="at most 103 bytes, not 104"):
        serve(path=f"{path}x")
    with pytest.raises(BadRendezvousError, match="no NUL byte"):
        serve(path=place / "a\0b")
    with pytest.raises(BadRendezvousError, match="no file can have this name"):
        serve(path=place / "\ud800")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
async def test_a_relative_path(
    kind: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    server = serve(path=kind("socket"))
    assert path_of(server) == place / "socket"
    monkeypatch.chdir("/")
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()
    assert list(place.iterdir()) == []


@pytest.mark.covers("RDV-36")
@pytest.mark.parametrize("name", NAMES)
async def test_odd_names(name: str, place: Path) -> None:
    server = serve(path=place / os.fsdecode(NAMES[name]))
    await has_session(server, make_ipc_channel_client(server.out_path, server.in_path))
    await server.close()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"mode": 0o600},
        {"path": "x", "mode": 0o1000},
        {"path": "x", "mode": -1},
        {"path": "x", "mode": True},
        {"path": "x", "mode": "600"},
        {"path": "x", "mode": 0o060},
        {"path": 5},
        {"path": "x", "systemd": True},
        {"mode": 0o600, "systemd": True},
        {"systemd": 1},
        {"systemd": ""},
    ],
)
def test_impossible_options(
    options: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises((TypeError, ValueError), match=r"mode|[pP]ath|systemd"):
        serve(**options)
    assert list(place.iterdir()) == []


def test_a_path_needs_unix_sockets() -> None:
    for options in ({"path": "/x"}, {"mode": 0o600}, {"systemd": True}):
        given: Any = options
        with pytest.raises(ValueError, match=r"needs transport='unix', not 'tcp'$"):
            make_ipc_channel(transport="tcp", **given)
