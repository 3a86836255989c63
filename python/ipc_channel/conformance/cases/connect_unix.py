"""How the testee finds its server over a Unix socket, and whose it lets it be."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.payloads import payload, write
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.trial import Trial

_UNIX = ("unix",)
_STRANGER = 12345  # a user that is neither root nor the testee's


def _socket_path(t: Trial) -> str:
    return t.paths()["in"].removeprefix("unix:")


async def _refuses(t: Trial, what: str) -> None:
    """Check that the testee refuses its path at once, and leaves what is there alone."""
    path = _socket_path(t)
    before = os.lstat(path)
    await t.fail("bad-rendezvous", "connect", **t.paths(), timeout=2 * t.patience)
    t.expect(_leads_to(path, before), what, "left alone", "removed or replaced")


def _leads_to(path: str, file: os.stat_result) -> bool:
    return os.path.lexists(path) and os.path.samestat(file, os.lstat(path))


def _link(path: str) -> None:
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)


def _file(path: str) -> None:
    os.unlink(path)
    Path(path).write_text("precious", encoding="utf-8")


def _pipe(path: str) -> None:
    os.unlink(path)
    os.mkfifo(path)


def _directory(path: str) -> None:
    os.unlink(path)
    os.mkdir(path)


def _instead(make: Callable[[str], None], what: str) -> Body:
    async def refused(t: Trial) -> None:
        make(_socket_path(t))
        await _refuses(t, what)

    return refused


for _what, _make in {
    "symlink": _link,
    "file": _file,
    "named-pipe": _pipe,
    "directory": _directory,
}.items():
    case(
        f"connect/refused/{_what}-as-socket",
        "RDV-11",
        "RDV-66",
        transports=_UNIX,
        text=f"A {_what} in the place of the socket is refused at once, and left alone.",
    )(_instead(_make, _what))


@case("connect/refused/socket-of-another-user", "RDV-66", transports=_UNIX)
async def another_owner(t: Trial) -> None:
    """A socket file of a user that is not trusted is refused before it is connected to."""
    _needs_root(t)
    os.chown(_socket_path(t), _STRANGER, -1)
    await _refuses(t, "the socket")
    t.expect(not await t.server.is_visited(), "connections made", 0, "one")


@case(
    "connect/refused/server-of-another-user", "RDV-65", needs="peer_user", transports=_UNIX
)
async def another_server(t: Trial) -> None:
    """A server of a user that is not trusted gets no byte, whoever owns its socket file."""
    _needs_root(t)
    paths = t.paths()
    with _as_stranger():
        t.appear()  # the kernel notes the user that called listen last
    accepting = t.spawn(t.accept())
    await t.fail("bad-rendezvous", "connect", **paths, timeout=2 * t.patience)
    peer = await accepting
    await peer.expect_end()


@case("connect/refused/unmapped-owner", "RDV-38", transports=_UNIX)
async def unmapped_owner(t: Trial) -> None:
    """Where every user has the id of the own one, a socket with this id is refused."""
    await t.restart_where_no_user_is_mapped()
    await t.fail("bad-rendezvous", "connect", **t.paths(), timeout=t.patience / 2)


@case("connect/unix/appears-late", "RDV-66", "RDV-67", transports=_UNIX)
async def appears_late(t: Trial) -> None:
    """A path that is missing is waited for, and so is a socket at which no process listens."""
    absent = await t.absent()
    path = _socket_path(t)
    os.rename(path, path + ".later")
    connecting = t.begin("connect", **absent, timeout=t.patience)
    await t.settle()
    os.rename(path + ".later", path)
    await t.settle()
    t.expect(not connecting.reply.done(), "connect, with no server there", "waits", "done")
    t.appear()
    peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"at last"))
    await t.reads(b"at last")


@case("connect/unix/one-connection", "RDV-67", transports=_UNIX)
async def one_connection(t: Trial) -> None:
    """Connecting makes one connection, not several."""
    await t.meet()
    await t.settle()
    t.expect(not await t.server.is_visited(), "connections made", 1, "more")


@case("connect/unix/full-queue", "RDV-9", "RDV-67", transports=_UNIX)
async def full_queue(t: Trial) -> None:
    """A client waits for room in the server's queue, but not beyond its timeout."""
    if sys.platform != "linux":
        t.skip("other systems refuse a connection for which the queue has no room")
    held = await t.server.fill_queue()
    with held:
        start = time.monotonic()
        await t.fail("timeout", "connect", **t.paths(), timeout=0.3)
        took = time.monotonic() - start
        t.expect(took >= 0.3, "the time until it gave up", ">= 0.3 s", took)
        late = 0.3 + t.patience / 2
        t.expect(took < late, "the time until it gave up", "0.3 s", took)
        connecting = await t.connecting(timeout=t.patience)
        await t.settle()
        t.expect(not connecting.reply.done(), "connect to a full queue", "waits", "done")
        await t.server.is_visited()  # takes one out of the queue
        peer = await t.accept()
    await t.connected(connecting)
    await peer.send(frame(b"there was room"))
    await t.reads(b"there was room")


@case("connect/unix/turned-away", "RDV-63", "SES-5", transports=_UNIX)
async def turned_away(t: Trial) -> None:
    """A server that has another peer closes the connection: eof, or reset after a write."""
    peer = await t.meet()
    peer.close()
    await t.reads_end("eof")
    peer = await t.meet()
    await t.do("write", **write(10))
    peer.close()
    await t.reads_error("reset", "reset")


@case("ends/unread-input", "SES-2", "SES-5", transports=_UNIX)
async def unread_input(t: Trial) -> None:
    """What a peer has sent that leaves with unread input arrives, and then the reset."""
    if sys.platform != "linux":
        t.skip("other systems report an ordinary end")
    peer = await t.meet()
    await t.do("write", **write(10))
    await peer.send(frame(b"first") + frame(payload(100_000)))
    peer.close()
    await t.reads(b"first", payload(100_000))
    await t.reads_error("reset", "reset")
    await t.reads_error("reset", "reset")


@case("ends/close-frame-and-unread-input", "SES-5", transports=_UNIX)
async def close_frame_and_unread_input(t: Trial) -> None:
    """A close frame is the end, though the peer leaves with unread input."""
    peer = await t.meet()
    await t.do("write", **write(10))
    await peer.send(frame(b"last") + CLOSE)
    peer.close()
    await t.reads(b"last")
    await t.reads_end("clean")


def _needs_root(t: Trial) -> None:
    if os.geteuid() != 0:
        t.skip("only root can act as another user")


@contextlib.contextmanager
def _as_stranger() -> Iterator[None]:
    os.seteuid(_STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)
