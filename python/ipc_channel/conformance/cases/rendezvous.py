"""Strings and variables that lead to a server, or never can."""

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
        # Nobody is there, as far as we know: any answer will do but this one.
        reply = await t.tell("connect", **paths, timeout=0)
        t.expect(
            reply.get("error") != "bad-rendezvous",
            "a string that is allowed",
            "tried",
            reply,
        )

    return connect


# Allowed, but the system itself may refuse them.
_NOT_TRIED = {"pipe-longest", "host-last-loopback"}

for _vector in vectors.load("rendezvous"):
    if _vector["id"] in _NOT_TRIED:
        continue
    _error = _vector.get("error")
    _kind = "named_pipe" if _vector["in"].startswith("/") else "tcp"
    case(
        f"rendezvous/{_vector['id']}",
        *_vector["covers"],
        transports=(_vector.get("transport", _kind),),
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
        transports=("tcp",)
        if "in" in _vector and _vector["in"][0] != "/"
        else ("named_pipe",),
        text=f"The variables {_vector['env']} are "
        f"{'refused' if 'error' in _vector else 'accepted'}.",
    )(_environment(_vector))


@case("environment/leads-to-the-server", "RDV-6", "RDV-7")
async def leads_to_server(t: Trial) -> None:
    """The two variables lead to the server, over either transport."""
    paths = t.paths()
    await t.restart({"IPC_CHANNEL_IN": paths["in"], "IPC_CHANNEL_OUT": paths["out"]})
    connecting = t.begin("connect", timeout=t.patience)
    peer = await t.come(connecting, t.accept())
    await t.connected(connecting)
    await peer.send(frame(b"found"))
    await t.reads(b"found")


@case("environment/path-of-any-bytes", "RDV-36", transports=("named_pipe",))
async def any_bytes(t: Trial) -> None:
    """Paths that are no UTF-8 lead to the server, or else are refused at once."""
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
