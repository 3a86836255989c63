"""What the tests share: the event loops they run on, transports and roles."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, Unpack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import descriptors
import dispositions
import loops
import raw
import wine
from blocking import eventually
from ipc_channel import IPCChannelClient
from ipc_channel.options import Options
from named_tests import ROOT, files_of
from on_windows.selection import reasons_to_skip
from pairs import beyond_pairs
from process_tree import children, lives

# How long an example takes says something about the machine, not about the code.
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("steady"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "test each pair of loop, transport and role, not each combination of the three"
    parser.addoption("--pairs", action="store_true", help=text)


def pytest_configure() -> None:
    dispositions.unblock()
    if wine.IS_WINE:
        wine.get_used_to_it()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return dict(loops.ALL)


# Where readiness is waited for in every way; elsewhere two kinds of loop are enough.
_WATCHING = {
    *files_of("aio/cancellation", "aio/close", "aio/endpoint", "aio/receiver", "aio/se"),
    *files_of("aio/stream", "transports/streams", "transports/connect_races"),
    *files_of("transports/tcp_listener_loops", "transports/tcp_listener_strangers"),
    *files_of("transports/tcp_socket", "transports/unix_socket"),
}


# The loop of blocking channels has no streams of asyncio, no subprocesses and no sock_connect.
_BEYOND_CALLER = {
    *files_of("transports/streams", "aio/selector_thread"),
    "test_never_connected_to_itself",
    "test_a_stranger_that_comes_late_notices_too",
}


# What debugging a loop may change: the order of steps, and what it holds on to.
_DEBUGGED = {*_WATCHING, *files_of("aio/request_", "helper/helper", "pool/helper_pool")}


def _is_left_out(item: pytest.Item) -> bool:
    """Whether a test is for a kind of loop that makes no difference to it."""
    kinds = set(re.split(r"[\[\]-]", item.name))
    file, name = item.path.relative_to(ROOT).as_posix(), item.name.partition("[")[0]
    if "debug" in kinds:
        return file not in _DEBUGGED
    if not kinds & {"thread", "caller"}:
        return False
    return file not in _WATCHING or (
        "caller" in kinds and bool({file, name} & _BEYOND_CALLER)
    )


@pytest.hookimpl(trylast=True)  # behind -k, or a pair could be lost to it
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = set(filter(_is_left_out, items))
    if config.getoption("pairs"):
        left_out |= set(beyond_pairs(one for one in items if one not in left_out))
    items[:] = [item for item in items if item not in left_out]
    for item in items if sys.platform == "win32" else ():
        for reason in reasons_to_skip(item.nodeid, wine=wine.IS_WINE):
            item.add_marker(pytest.mark.skip(reason))
    config.hook.pytest_deselected(items=list(left_out))


@settings(derandomize=True, database=None, max_examples=1)
@given(st.none())
def _use_hypothesis(_: None) -> None:
    """Have it make its random numbers, and look for who refers to them.

    It would not find what is frozen, and warn that they could be lost. It looks only where
    it is deterministic, which is its default under continuous integration.
    """


def pytest_collection_finish() -> None:
    """Have garbage collections leave alone what is there for ever.

    Thousands of tests have so many objects that each collection would take 0.1 s.
    """
    _use_hypothesis()
    gc.collect()
    gc.freeze()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have as many as a service with hundreds of channels has."""
    with descriptors.many_descriptors():
        yield


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of a short path, in which processes of other users find files.

    That of pytest is closed to them.
    """
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    if list(directory.glob("ipc-channel-*")):
        gc.collect()
    left = list(directory.glob("ipc-channel-*"))
    shutil.rmtree(directory)
    assert left == []


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
    """Fail a test that leaves a private directory or a process, or has a callback fail."""
    before = set(children())
    directory = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    complaints = Complaints()
    monkeypatch.setattr(logging.getLogger("asyncio"), "handlers", [complaints])
    yield
    eventually(lambda: not any(map(lives, set(children()) - before)))
    assert complaints.texts == []
    if list(directory.glob("ipc-channel-*")):
        gc.collect()
    assert list(directory.glob("ipc-channel-*")) == []
