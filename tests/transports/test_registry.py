"""The registry of transports: what it refuses, and what a channel gets from it."""

from __future__ import annotations

import sys
from typing import Any, get_args

import pytest

from ipc_channel import (
    BadRendezvousError,
    Transport,
    make_ipc_channel,
    make_ipc_channel_client,
)
from ipc_channel.transports import registry
from ipc_channel.transports.named_pipe import NAMED_PIPE
from ipc_channel.transports.tcp_socket import TCP
from ipc_channel.transports.unix_socket import UNIX


def test_the_order_is_that_of_registration() -> None:
    names = tuple(one.name for one in registry.all_types())
    assert names[:3] == ("named_pipe", "unix", "tcp")
    assert names == get_args(Transport)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="transport 'tcp' is registered already"):
        registry.register(TCP)


def test_an_unknown_name_is_told_what_there_is() -> None:
    transport: Any = "carrier_pigeon"
    with pytest.raises(
        ValueError, match=r"'carrier_pigeon', not 'named_pipe' or 'unix' or 'tcp'"
    ):
        make_ipc_channel(transport=transport)


@pytest.mark.covers("RDV-1")
def test_the_strings_of_two_transports_make_no_channel() -> None:
    with pytest.raises(BadRendezvousError, match=r"first is for named_pipe .* for tcp"):
        make_ipc_channel_client("/in", "5000")


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", NAMED_PIPE), ("darwin", UNIX), ("win32", TCP), ("plan9", TCP)],
)
def test_the_default(
    platform: str, expected: registry.TransportType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert registry.default() is expected


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", ["named_pipe", "unix", "tcp"]), ("win32", ["tcp"])],
)
def test_windows_has_one_transport(
    platform: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert [one.name for one in registry.usable_types()] == expected


def test_other_users_need_a_transport_that_knows_its_peer() -> None:
    with pytest.raises(ValueError, match="allowed_users needs transport='unix' or 'tcp'"):
        make_ipc_channel(transport="named_pipe", allowed_users=[1000])
