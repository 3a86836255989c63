"""The strings, the environment variables, and the private directory."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import vectors
from ipc_channel import BadRendezvousError, make_ipc_channel_client
from ipc_channel.protocol import rendezvous
from ipc_channel.transports import registry
from ipc_channel.transports.pipe_address import PipeAddress
from ipc_channel.transports.tcp_address import TCPAddress
from ipc_channel.transports.unix_address import UnixAddress

CASES = {case["id"]: case for case in vectors.load("rendezvous")}
ENVIRONMENTS = {case["id"]: case for case in vectors.load("environment")}


@pytest.mark.parametrize("id_", CASES)
def test_strings(id_: str) -> None:
    case = CASES[id_]
    if "error" in case:
        with pytest.raises(BadRendezvousError) as caught:
            make_ipc_channel_client(case["in"], case["out"])
        assert caught.value.code == case["error"]
        return
    transport, address = registry.parse(case["in"], case["out"])
    assert transport.name == address.transport == case["transport"]
    if isinstance(address, TCPAddress):
        assert (address.host, address.port) == (case["host"], case["port"])
    elif isinstance(address, UnixAddress):
        assert f"unix:{address.path}" == case["in"]
    else:
        assert isinstance(address, PipeAddress)
        assert (address.in_path, address.out_path) == (case["in"], case["out"])


@pytest.mark.parametrize("id_", ENVIRONMENTS)
def test_environment(id_: str) -> None:
    case = ENVIRONMENTS[id_]
    if "error" in case:
        with pytest.raises(BadRendezvousError, match=case.get("names")) as caught:
            rendezvous.from_environment(case["env"])
        assert caught.value.code == case["error"]
    else:
        assert rendezvous.from_environment(case["env"]) == (case["in"], case["out"])
        told = rendezvous.to_environment(case["in"], case["out"])
        assert told.items() <= case["env"].items()


@pytest.mark.parametrize("value", [None, 5000, b"/tmp/in"])
def test_not_a_string(value: Any) -> None:
    with pytest.raises(TypeError, match="in_path is a str"):
        registry.parse(value, "5000")


@pytest.mark.skipif(sys.platform == "win32", reason="its file names may be any text")
def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(BadRendezvousError, match="no file can have this name"):
        registry.parse("/\ud800", "/out")


def test_not_an_environment() -> None:
    with pytest.raises(TypeError, match=r"environ is a mapping .*, not int"):
        rendezvous.from_environment(5)  # type: ignore[arg-type]  # is to be refused


def test_a_path_is_measured_in_bytes() -> None:
    path = "/" + "é" * 2047
    registry.parse(path, "/x")
    with pytest.raises(BadRendezvousError, match="4095 bytes"):
        registry.parse(path + "é", "/x")


def test_a_refusal_shows_the_string_up_to_a_length() -> None:
    for size in (120, 121):
        text = "x" * size
        with pytest.raises(BadRendezvousError) as caught:
            registry.parse(text, text)
        shown = text if size == 120 else "x" * 117 + "..."
        assert f"bad rendezvous {shown!r}: " in str(caught.value)


@pytest.mark.parametrize("paths", [("nonsense", "5"), ("5", "nonsense")])
def test_a_refusal_names_the_string_that_is_wrong(paths: tuple[str, str]) -> None:
    with pytest.raises(BadRendezvousError, match="'nonsense': neither"):
        registry.parse(*paths)
