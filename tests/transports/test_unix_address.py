"""The rendezvous strings of Unix sockets; the vectors have most of them."""

from __future__ import annotations

import os
import socket

import pytest

from ipc_channel import BadRendezvousError, UnixSocketChannel, UnixSocketChannelClient
from ipc_channel.transports.unix_address import MAX_PATH, check_path, parse, recognises


@pytest.mark.covers("RDV-60")
def test_what_it_recognises() -> None:
    assert recognises("unix:/x")
    for text in ("unix:x", "unix:", "unix:@x", "UNIX:/x", " unix:/x", "/x", "unix"):
        assert not recognises(text)


@pytest.mark.covers("RDV-60")
def test_parsed() -> None:
    longest = "/" + "x" * (MAX_PATH - 1)
    assert parse(f"unix:{longest}", f"unix:{longest}").path == longest
    assert parse("unix:/a:b unix:/c", "unix:/a:b unix:/c").path == "/a:b unix:/c"


LONG = "unix:/" + os.fsdecode("ü".encode()) * 52  # 105 bytes, in every locale


@pytest.mark.covers("RDV-60")
@pytest.mark.parametrize(
    ("in_path", "out_path", "why"),
    [
        ("unix:/a", "unix:/b", "a Unix socket has one string for both directions"),
        ("unix:/a", "unix:/a/", "a Unix socket has one string for both directions"),
        ("unix:/a", "/a", "not a Unix socket, which is written unix:/PATH"),
        ("unix:a", "unix:a", "not a Unix socket, which is written unix:/PATH"),
        ("unix:/" + "x" * MAX_PATH, "unix:/x", "at most 103 bytes, not 104"),
        (LONG, LONG, "at most 103 bytes, not 105"),
        ("unix:/a\0", "unix:/a\0", "a path has no NUL byte"),
        ("unix:/\ud800", "unix:/\ud800", "no file can have this name"),
    ],
)
def test_refused(in_path: str, out_path: str, why: str) -> None:
    with pytest.raises(BadRendezvousError, match=why):
        parse(in_path, out_path)


def test_a_relative_path() -> None:
    with pytest.raises(BadRendezvousError, match="is absolute: begin it with /"):
        check_path("x")


def test_a_system_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(BadRendezvousError, match="has no Unix sockets here; use TCP"):
        UnixSocketChannel()
    with pytest.raises(BadRendezvousError, match="has no Unix sockets here; use TCP"):
        UnixSocketChannelClient("unix:/x", "unix:/x")
