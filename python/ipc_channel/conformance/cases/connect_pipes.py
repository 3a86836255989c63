"""How the testee connects to its server over named pipes, despite stray openers."""

from __future__ import annotations

import os
import time

from ipc_channel.conformance.case import case
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.raw_server import has_writer
from ipc_channel.conformance.trial import Trial

_PIPES = ("named_pipe",)


@case("connect/pipes/writes-before-it-reads", "RDV-22", transports=_PIPES)
async def writer_first(t: Trial) -> None:
    """The testee connects to a server that opens its writing end first, blocking."""
    connecting = await t.connecting(timeout=t.patience)
    out = await t.open_blocking(t.server.testee_in, os.O_WRONLY)
    in_ = await t.open_blocking(t.server.testee_out, os.O_RDONLY)
    peer = t.adopt(in_, out)
    await t.connected(connecting)
    await peer.send(frame(b"hello"))
    await t.reads(b"hello")


@case("connect/pipes/blocking-open", "RDV-22", transports=_PIPES)
async def blocking_reader(t: Trial) -> None:
    """The testee connects to a server that opens its reading end first, blocking."""
    opening = t.spawn(t.open_blocking(t.server.testee_out, os.O_RDONLY))
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
    """A stray opener, which opens the pipe to the testee and closes it, is no server."""
    connecting = await t.connecting(timeout=t.patience)
    os.close(await t.open_for_writing())
    await t.settle()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"the server"))
    await t.reads(b"the server")


@case("connect/pipes/passer-by-after", "RDV-26", transports=_PIPES)
async def passer_by_after(t: Trial) -> None:
    """A stray opener that leaves while the server opens its pipes is not an end."""
    connecting = await t.connecting(timeout=t.patience)
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(3):
        os.close(await t.open_for_writing())
        await t.settle()
    # A client that also checks for a writer may take this one for its server.
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
    """A process that only reads is not yet the server: connect waits for a writer, too."""
    connecting = await t.connecting(timeout=t.patience)
    in_ = await read_first(t)
    for _ in range(5):
        await t.settle()
    early = connecting.reply.done()
    peer = t.adopt(in_, await t.open_for_writing())
    await t.connected(connecting)
    t.expect(not early, "connect to a stray opener that only reads", "waits", "done")
    await peer.send(frame(b"both"))
    await t.reads(b"both")


async def read_first(t: Trial) -> int:
    """Open the pipe from the testee, and wait until the testee has opened it as well."""
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await t.in_time(has_writer(in_), "opened its writing end")
    except BaseException:
        os.close(in_)
        raise
    return in_


@case("connect/pipes/reader-has-left", "RDV-28", level="SHOULD", transports=_PIPES)
async def reader_has_left(t: Trial) -> None:
    """A stray writer is not the server, even after a stray reader that has left."""
    connecting = await t.connecting(timeout=3 * t.patience)
    os.close(await read_first(t))
    await t.asleep()  # an attempt that was under way has ended
    out = await t.open_for_writing()
    for _ in range(5):
        await t.settle()
    early = connecting.reply.done()
    peer = t.adopt(os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK), out)
    await t.connected(connecting)
    t.expect(not early, "connect to a stray opener that only writes", "waits", "done")
    await peer.send(frame(b"both"))
    await t.reads(b"both")


@case("connect/pipes/stays-open", "RDV-29", transports=_PIPES)
async def stays_open(t: Trial) -> None:
    """When a stray reader of its pipe has left, a client keeps it open for its server."""
    connecting = await t.connecting(timeout=t.patience)
    os.close(await read_first(t))
    for _ in range(5):
        await t.settle()
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    try:
        is_open = bool(os.read(in_, 1))
    except BlockingIOError:
        is_open = True
    # A client that takes the stray reader for its server says so: see half_a_server.
    gone = connecting.reply.done()
    peer = t.adopt(in_, await t.open_for_writing())
    t.expect(gone or is_open, "the testee's writing end", "open", "closed meanwhile")
    await t.connected(connecting)
    await peer.send(frame(b"it is"))
    await t.reads(b"it is")


@case("connect/pipes/gives-up-half-way", "RDV-10", transports=_PIPES)
async def gives_up_half_way(t: Trial) -> None:
    """A connect that times out with both pipes open closes both."""
    await t.fail("timeout", "connect", **t.paths(), timeout=0)
    before = t.descriptors()
    in_ = os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK)
    try:
        reply = await t.tell("connect", **t.paths(), timeout=0.1)
        if "error" not in reply:
            t.skip("this client takes a process that only reads for its server")
        t.check_error(reply, "timeout", "connect")
        await t.no_more_descriptors_than(before)
    finally:
        os.close(in_)


@case("connect/pipes/after-who-passed-by", "RDV-31", level="SHOULD", transports=_PIPES)
async def after_passer_by(t: Trial) -> None:
    """After a stray opener, the client soon detects that a silent server has left."""
    tries: list[float] = []
    while len(tries) < 5:
        peer = await t.meet()
        reading = t.begin("read")
        await t.settle()
        peer.end_writing()
        os.close(await t.open_for_writing())
        await t.settle()
        start = time.monotonic()
        peer.close()
        t.check_end(await t.answer(reading), "eof", None)
        tries.append(time.monotonic() - start)
        if tries[-1] < 0.5:
            return
        t.renew()
    t.expect(False, "the time until the end was told", "about 0.1 s", tries)


@case("connect/pipes/came-and-went-before", "RDV-25", transports=_PIPES)
async def came_and_went(t: Trial) -> None:
    """Messages of a server that leaves before the client has connected are delivered."""
    connecting = await t.connecting(timeout=t.patience)
    writer = await t.open_for_writing()
    os.write(writer, frame(b"in passing") + CLOSE)
    os.close(writer)
    await t.connected(connecting)
    await t.reads(b"in passing")
    await t.reads_end("clean")


@case("connect/pipes/one-is-missing", "RDV-21", transports=_PIPES)
async def one_missing(t: Trial) -> None:
    """While one of the pipes does not exist yet, the testee waits for it."""
    absent = await t.absent()
    os.mkfifo(absent["in"], 0o600)
    await t.fail("timeout", "connect", **absent, timeout=0.2)
    t.appear()
    peer = await t.meet()
    await peer.send(frame(b"both are there"))
    await t.reads(b"both are there")


@case("connect/pipes/replaced", "RDV-23", transports=_PIPES)
async def replaced(t: Trial) -> None:
    """A client that waits while its pipes are replaced connects over the new ones."""
    connecting = await t.connecting(timeout=t.patience)
    os.close(await t.open_for_writing())  # the testee holds the old pipe by now
    t.server.renew()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"on the new one"))
    await t.reads(b"on the new one")


@case("connect/pipes/stale", "RDV-9", "RDV-22", transports=_PIPES)
async def stale(t: Trial) -> None:
    """Pipes without a reader, which a crash has left behind, are not a server."""
    await t.fail("timeout", "connect", **t.paths(), timeout=0)
    before = t.descriptors()
    await t.fail("timeout", "connect", **t.paths(), timeout=0.2)
    await t.no_more_descriptors_than(before)
