"""What a browser sends first, against the table of spec/security.md."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest

from ipc_channel import FrameTooLargeError, make_ipc_channel
from raw import Raw, eventually, meet

PAGE = (Path(__file__).parents[1] / "spec" / "security.md").read_text("utf-8")
TURN, ICE = bytes.fromhex("00030008"), bytes.fromhex("00580001")


def client_hello() -> bytes:
    """Return what a TLS client sends first."""
    sent = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return sent.read()[:4]


def test_the_table_has_the_lengths() -> None:
    for first in (b"GET ", b"POST", TURN, ICE):
        assert f"{int.from_bytes(first, 'big'):,}" in PAGE
    low, high = re.findall(r"369,295,\d+", PAGE)
    length = int.from_bytes(client_hello(), "big")
    assert int(low.replace(",", "")) <= length <= int(high.replace(",", ""))


@pytest.mark.parametrize("first", [b"GET ", b"POST", client_hello(), TURN, ICE])
@pytest.mark.parametrize("limit", [64 * 2**20, 196_607])
async def test_what_the_server_makes_of_it(first: bytes, limit: int) -> None:
    server = make_ipc_channel(transport="tcp", max_message_size=limit)
    browser: Raw = await meet(server)
    browser.send(first + b"more")
    if int.from_bytes(first, "big") > limit:
        with pytest.raises(FrameTooLargeError):
            await server.read()
    else:
        receiver = server.session.receiver  # type: ignore[attr-defined]  # looks inside
        await eventually(lambda: receiver.decoder.payload is not None)
        assert server.end_reason is None, "the browser holds the session"
    browser.close()
    await server.close()
