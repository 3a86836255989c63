"""How the testee finds its server, waits for it, or gives up."""

from __future__ import annotations

import asyncio
import os
import socket
import time

from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.trial import Trial
from ipc_channel.conformance.wire import CLOSE, frame

_PIPES = ("named_pipe",)
_TCP = ("tcp",)


@case("connect/server-first", "RDV-9")
async def server_first(t: Trial) -> None:
    """A server that is there already is met, and both directions work."""
    accepting = asyncio.ensure_future(t.accept())
    await t.settle()
    connecting = await t.connecting(timeout=t.patience)
    peer = await accepting
    await t.connected(connecting)
    await peer.send(frame(b"down"))
    await t.reads(b"down")
    await t.do("write", **write(2))
    await peer.expect_message(payload(2))


@case("connect/client-first", "RDV-9", "RDV-12")
async def client_first(t: Trial) -> None:
    """A client that comes first waits for its server."""
    connecting = t.begin("connect", **await t.absent(), timeout=t.patience)
    await t.settle()
    t.expect(not connecting.reply.done(), "connect, with nobody there", "waits", "done")
    t.appear()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"at last"))
    await t.reads(b"at last")


@case("connect/timeout", "RDV-9")
async def timeout(t: Trial) -> None:
    """With nobody there it fails at the timeout, not earlier, and leaves nothing open."""
    absent = await t.absent()
    before = t.descriptors()
    for seconds in (0.3, 0):
        start = time.monotonic()
        await t.fail("timeout", "connect", **absent, timeout=seconds)
        took = time.monotonic() - start
        t.expect(took >= seconds, "the time until it gave up", f">= {seconds} s", took)
        late = seconds + t.patience / 2
        t.expect(took < late, "the time until it gave up", f"{seconds} s", took)
    await t.no_more_descriptors_than(before)


@case("connect/after-a-timeout", "RDV-10")
async def after_timeout(t: Trial) -> None:
    """After a timeout the next attempt works."""
    await t.fail("timeout", "connect", **await t.absent(), timeout=0.05)
    t.appear()
    peer = await t.meet()
    await peer.send(frame(b"second try"))
    await t.reads(b"second try")


@case("connect/silent-server", "RDV-26")
async def silent_server(t: Trial) -> None:
    """A server that says nothing for a while is no end."""
    peer = await t.meet()
    reading = t.begin("read")
    await asyncio.sleep(0.3)
    t.expect(not reading.reply.done(), "a read from a silent server", "waits", "done")
    await peer.send(frame(b"finally"))
    t.check_message(t.check_ok(await t.answer(reading), "read"), b"finally")


@case("connect/came-wrote-and-left", "RDV-25", "SES-2")
async def came_and_left(t: Trial) -> None:
    """What a server wrote that has left since is delivered."""
    peer = await t.meet()
    await peer.send(frame(b"I was here") + CLOSE)
    peer.close()
    await t.settle()
    await t.reads(b"I was here")
    await t.reads_end("clean")


# --- Named pipes


@case("connect/pipes/writes-before-it-reads", "RDV-22", transports=_PIPES)
async def writer_first(t: Trial) -> None:
    """A server that opens its writing end first, blocking, is met."""
    connecting = await t.connecting(timeout=t.patience)
    out = await t.open_blocking(t.server.testee_in, os.O_WRONLY)
    in_ = await t.open_blocking(t.server.testee_out, os.O_RDONLY)
    peer = t.adopt(in_, out)
    await t.connected(connecting)
    await peer.send(frame(b"hello"))
    await t.reads(b"hello")


@case("connect/pipes/blocking-open", "RDV-22", transports=_PIPES)
async def blocking_reader(t: Trial) -> None:
    """A server that opens its reading end first, blocking, is met."""
    opening = asyncio.ensure_future(t.open_blocking(t.server.testee_out, os.O_RDONLY))
    await t.settle()
    connecting = await t.connecting(timeout=t.patience)
    in_ = await opening
    out = await t.open_blocking(t.server.testee_in, os.O_WRONLY)
    peer = t.adopt(in_, out)
    await t.connected(connecting)
    await peer.send(frame(b"hello"))
    await t.reads(b"hello")


@case("connect/pipes/passer-by-before", "RDV-26", "RDV-28", "RDV-29", transports=_PIPES)
async def passer_by(t: Trial) -> None:
    """Somebody who opens the pipe to the testee and closes it is no server."""
    connecting = await t.connecting(timeout=t.patience)
    os.close(await t.open_for_writing())
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"the server"))
    await t.reads(b"the server")


@case("connect/pipes/passer-by-after", "RDV-26", transports=_PIPES)
async def passer_by_after(t: Trial) -> None:
    """Somebody who opens and closes the pipe while the server opens its own is no end."""
    connecting = await t.connecting(timeout=t.patience)
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(3):
        os.close(await t.open_for_writing())
        await t.settle()
    # To a client that looks for who writes as well, this one may be the server.
    passing = await t.open_for_writing()
    for _ in range(3):
        await t.settle()
    reading = t.begin("read") if connecting.reply.done() else None
    os.close(passing)
    await t.settle()
    peer = t.adopt(in_, await t.open_for_writing())
    await t.connected(connecting)
    await peer.send(frame(b"still here"))
    reply = await t.answer(reading or t.begin("read"))
    t.check_message(t.check_ok(reply, "read"), b"still here")


@case("connect/pipes/half-a-server", "RDV-28", level="SHOULD", transports=_PIPES)
async def half_a_server(t: Trial) -> None:
    """Somebody who only reads is no server yet: connect waits for who writes as well."""
    connecting = await t.connecting(timeout=t.patience)
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    os.close(await t.open_for_writing())  # it has opened one end, and tries the other
    for _ in range(5):
        await t.settle()
    early = connecting.reply.done()
    peer = t.adopt(in_, await t.open_for_writing())
    await t.connected(connecting)
    t.expect(not early, "connect to one who only reads", "waits", "done")
    await peer.send(frame(b"both"))
    await t.reads(b"both")


@case("connect/pipes/came-and-went-before", "RDV-25", transports=_PIPES)
async def came_and_went(t: Trial) -> None:
    """A server that writes and leaves before it was met has its messages delivered."""
    connecting = await t.connecting(timeout=t.patience)
    writer = await t.open_for_writing()
    os.write(writer, frame(b"in passing") + CLOSE)
    os.close(writer)
    await t.connected(connecting)
    await t.reads(b"in passing")
    await t.reads_end("clean")


@case("connect/pipes/one-is-missing", "RDV-21", transports=_PIPES)
async def one_missing(t: Trial) -> None:
    """While one of the pipes does not exist yet the testee waits for it."""
    absent = await t.absent()
    os.mkfifo(absent["in"], 0o600)
    await t.fail("timeout", "connect", **absent, timeout=0.2)
    t.appear()
    peer = await t.meet()
    await peer.send(frame(b"both are there"))
    await t.reads(b"both are there")


@case("connect/pipes/replaced", "RDV-23", transports=_PIPES)
async def replaced(t: Trial) -> None:
    """A client that waits at pipes which are replaced meets its server at the new ones."""
    connecting = await t.connecting(timeout=t.patience)
    os.close(await t.open_for_writing())  # it holds the old one by now
    t.server.make_pipes()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"on the new one"))
    await t.reads(b"on the new one")


@case("connect/pipes/stale", "RDV-9", "RDV-22", transports=_PIPES)
async def stale(t: Trial) -> None:
    """Pipes that nobody reads, as a crash leaves them, are nobody."""
    await t.fail("timeout", "connect", **t.paths(), timeout=0)
    before = t.descriptors()
    await t.fail("timeout", "connect", **t.paths(), timeout=0.2)
    await t.no_more_descriptors_than(before)


def _no_pipe(kind: str, which: str) -> Body:
    async def refused(t: Trial) -> None:
        path = os.path.join(t.directory, "bad")
        paths = t.paths()
        await t.fail("timeout", "connect", **paths, timeout=0)
        before = t.descriptors()
        if kind == "file":
            with open(path, "wb") as file:
                file.write(b"precious")
        elif kind == "directory":
            os.mkdir(path)
        elif kind == "symlink":
            os.symlink(paths[which], path)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(path)
        else:
            path = "/dev/null"
        # With a reader at the other end, only the bad one can be in the way.
        reader = os.open(paths["out"], os.O_RDONLY | os.O_NONBLOCK)
        try:
            start = time.monotonic()
            paths[which] = path
            await t.fail("bad-rendezvous", "connect", **paths, timeout=2 * t.patience)
            took = time.monotonic() - start
            t.expect(took < t.patience, "the refusal", "at once", f"after {took:.1f} s")
        finally:
            os.close(reader)
        await t.no_more_descriptors_than(before)
        if kind == "file":
            with open(path, "rb") as file:
                t.expect(file.read() == b"precious", "the file", "untouched", "changed")

    return refused


for _kind in ("file", "directory", "symlink", "socket", "device"):
    for _which in ("in", "out"):
        case(
            f"connect/refused/{_kind}-as-{_which}",
            "RDV-11",
            "RDV-21",
            transports=_PIPES,
            text=f"A {_kind} in the place of the pipe `{_which}` is refused at once.",
        )(_no_pipe(_kind, _which))


@case("connect/refused/another-owner", "RDV-21", transports=_PIPES)
async def another_owner(t: Trial) -> None:
    """A pipe of another user is refused at once."""
    if os.geteuid() != 0:
        t.skip("only root can make a pipe of another user")
    os.chown(t.server.testee_in, 12345, -1)
    await t.fail("bad-rendezvous", "connect", **t.paths(), timeout=2 * t.patience)


@case("connect/refused/the-same-pipe", "RDV-1", "RDV-11", transports=_PIPES)
async def same_pipe(t: Trial) -> None:
    """Two names of one pipe are refused, since an end would meet itself."""
    paths = t.paths()
    other = os.path.join(t.directory, "other")
    os.link(paths["in"], other)
    await t.fail(
        "bad-rendezvous", "connect", **{"in": paths["in"], "out": other}, timeout=t.patience
    )


# --- TCP


@case("connect/tcp/one-connection", "RDV-43", transports=_TCP)
async def one_connection(t: Trial) -> None:
    """Connecting makes one connection, not several."""
    await t.meet()
    await t.settle()
    t.expect(not await t.server.has_another(), "connections made", 1, "more")


@case("connect/tcp/stays-until-accepted", "RDV-48", level="SHOULD", transports=_TCP)
async def stays(t: Trial) -> None:
    """A client that is done stays until the server has accepted it, or it is nobody's."""
    connecting = await t.connecting(timeout=t.patience)
    await t.connected(connecting)
    await t.do("write", **write(10))
    closing = t.begin("close")
    for _ in range(5):
        await t.settle()
    early = closing.reply.done()
    peer = await t.accept()
    await peer.expect_message(payload(10))
    await peer.expect_close()
    peer.close()
    t.check_ok(await t.answer(closing), "close")
    t.expect(not early, "close before the server has accepted", "waits", "done")


@case("connect/tcp/reset-at-once", "RDV-49", transports=_TCP)
async def reset_at_once(t: Trial) -> None:
    """A server that resets whom it does not want is the end reset."""
    connecting = await t.connecting(timeout=t.patience)
    peer = await t.accept()
    await t.connected(connecting)
    peer.reset()
    await t.reads_error("reset", "reset")
