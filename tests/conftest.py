"""What the tests share: the event loops they run on, transports and roles.

The loops are asyncio's own, the same in debug mode, and uvloop.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, Unpack

import pytest
import uvloop
from hypothesis import HealthCheck, settings

import descriptors
import dispositions
import raw
from ipc_channel import IPCChannelClient
from ipc_channel.options import Options

# How long an example takes says something about the machine, not about the code.
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("steady"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_configure() -> None:
    dispositions.unblock()


def _debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60  # a slow machine is no fault
    return loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {
        "asyncio": asyncio.new_event_loop,
        "debug": _debug_loop,
        "uvloop": uvloop.new_event_loop,
    }


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have as many as a service with hundreds of channels has."""
    with descriptors.many_descriptors():
        yield


@pytest.fixture(params=raw.TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport."""
    return str(request.param)


@pytest.fixture(params=raw.ROLES)
def role(request: pytest.FixtureRequest) -> str:
    """Each role that our end can have."""
    return str(request.param)


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, str]:
    """Two named pipes."""
    rendezvous = raw.Rendezvous("named_pipe", tmp_path)
    return rendezvous.in_path, rendezvous.out_path


class Connect(Protocol):
    """Makes a channel of ours that is connected to a raw end."""

    def __call__(
        self, **options: Unpack[Options]
    ) -> AbstractAsyncContextManager[tuple[IPCChannelClient, raw.Raw]]: ...


@pytest.fixture
def connect(transport: str, role: str, tmp_path: Path) -> Connect:
    """Over every transport and in both roles: ``async with connect() as (ours, peer)``."""
    return functools.partial(raw.connected, transport, role, tmp_path)


class Complaints(logging.Handler):
    """Collects what a loop could only log, such as an exception in a callback."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture(autouse=True)
def nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail a test that leaves a private directory behind, or has a callback fail."""
    directory = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    complaints = Complaints()
    monkeypatch.setattr(logging.getLogger("asyncio"), "handlers", [complaints])
    yield
    assert complaints.texts == []
    if list(directory.glob("ipc-channel-*")):
        gc.collect()
    assert list(directory.glob("ipc-channel-*")) == []
