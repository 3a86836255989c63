"""Rendezvous strings and environment variables, valid and invalid."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from ipc_channel.conformance import vectors
from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.raw_peer import frame
from ipc_channel.conformance.trial import Trial


def _string(vector: dict[str, Any]) -> Body:
    async def connect(t: Trial) -> None:
        paths = {"in": vector["in"], "out": vector["out"]}
        if "error" in vector:
            await t.fail(vector["error"], "connect", **paths, timeout=0)
            return
        if vector.get("host") == "::1" and not _has_ipv6():
            t.skip("this machine has no ::1")
        # A server may or may not be there: any answer but this one is right.
        reply = await t.tell("connect", **paths, timeout=0)
        t.expect(
            reply.get("error") != "bad-rendezvous",
            "a string that is allowed",
            "tried",
            reply,
        )

    return connect


def _meant_for(text: str) -> str:
    """Return the transport that a string looks like; any other is refused as TCP's."""
    if text.startswith("unix:"):
        return "unix"
    return "named_pipe" if text.startswith("/") else "tcp"


# Valid, but the system itself may refuse them.
_NOT_TRIED = {"pipe-longest", "host-last-loopback"}

for _vector in vectors.load("rendezvous"):
    if _vector["id"] in _NOT_TRIED:
        continue
    _error = _vector.get("error")
    case(
        f"rendezvous/{_vector['id']}",
        *_vector["covers"],
        transports=(_vector.get("transport", _meant_for(_vector["in"])),),
        text=f"{_vector['in'][:40]!r} is {'refused' if _error else 'accepted'}.",
    )(_string(_vector))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _environment(vector: dict[str, Any]) -> Body:
    async def connect(t: Trial) -> None:
        await t.restart(vector["env"])
        if "error" in vector:
            reply = await t.fail(vector["error"], "connect", timeout=0)
            text = reply.get("text")
            told = text is None or vector["names"] in text
            t.expect(told, "the error's text", vector["names"], text)
            return
        reply = await t.tell("connect", timeout=0)
        t.expect(
            reply.get("error") != "bad-rendezvous", "the environment", "accepted", reply
        )

    return connect


for _vector in vectors.load("environment"):
    case(
        f"environment/{_vector['id']}",
        *_vector["covers"],
        transports=(_meant_for(_vector.get("in", "/")),),
        text=f"The variables {_vector['env']} are "
        f"{'refused' if 'error' in _vector else 'accepted'}.",
    )(_environment(_vector))


@case("environment/leads-to-the-server", "RDV-6", "RDV-7")
async def leads_to_server(t: Trial) -> None:
    """The two variables lead to the server, over every transport."""
    paths = t.paths()
    await t.restart({"IPC_CHANNEL_IN": paths["in"], "IPC_CHANNEL_OUT": paths["out"]})
    connecting = t.begin("connect", timeout=t.patience)
    peer = await t.come(connecting, t.accept())
    await t.connected(connecting)
    await peer.send(frame(b"found"))
    await t.reads(b"found")


@case("environment/path-of-any-bytes", "RDV-36", transports=("named_pipe", "unix"))
async def any_bytes(t: Trial) -> None:
    """Paths that are not UTF-8 lead to the server, or are refused at once."""
    directory = os.path.join(t.directory, os.fsdecode(b"\xe9\xff"))
    try:
        os.mkdir(directory)
    except OSError as error:
        t.skip(f"this file system has no such name: {error.strerror}")
    t.directory = directory
    paths = t.paths()
    await t.restart({"IPC_CHANNEL_IN": paths["in"], "IPC_CHANNEL_OUT": paths["out"]})
    connecting = t.begin("connect", timeout=2 * t.patience)
    accepting = t.spawn(t.accept())
    either: set[asyncio.Future[Any]] = {connecting.reply, accepting}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if connecting.reply.done() and "error" in connecting.reply.result():
        t.check_error(connecting.reply.result(), "bad-rendezvous", connecting.text)
        return
    peer = await accepting
    await t.connected(connecting)
    await peer.send(frame(b"found"))
    await t.reads(b"found")
