"""Paths that can never be a rendezvous."""

from __future__ import annotations

import contextlib
import os
import socket
import time

with contextlib.suppress(ImportError):  # Windows, which has no POSIX named pipes
    import fcntl

from ipc_channel.conformance.case import Body, case
from ipc_channel.conformance.trial import Trial

_PIPES = ("named_pipe",)
_KINDS = ("file", "directory", "symlink", "socket", "device")


def make_no_pipe(kind: str, directory: str) -> str:
    """Make something that is not a named pipe; return its path."""
    path = os.path.join(directory, "bad")
    if kind == "file":
        with open(path, "wb") as file:
            file.write(b"precious")
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "symlink":
        os.mkfifo(path + ".pipe", 0o600)
        os.symlink(path + ".pipe", path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
    else:
        path = "/dev/null"
    return path


async def _refuses(t: Trial, paths: dict[str, str]) -> None:
    """Fail unless connect is refused long before its timeout, with nothing left open."""
    before = t.descriptors()
    start = time.monotonic()
    await t.fail("bad-rendezvous", "connect", **paths, timeout=2 * t.patience)
    took = time.monotonic() - start
    t.expect(took < t.patience, "the refusal", "at once", f"after {took:.1f} s")
    await t.no_more_descriptors_than(before)


def _no_pipe(kind: str, which: str) -> Body:
    async def refused(t: Trial) -> None:
        paths = t.paths()
        await t.fail("timeout", "connect", **paths, timeout=0)
        path = make_no_pipe(kind, t.directory)
        # The other pipe has a reader, so only the bad path can make connect fail.
        reader = os.open(paths["out"], os.O_RDONLY | os.O_NONBLOCK)
        try:
            await _refuses(t, paths | {which: path})
        finally:
            os.close(reader)
        if kind == "file":
            with open(path, "rb") as file:
                t.expect(file.read() == b"precious", "the file", "untouched", "changed")

    return refused


for _kind in _KINDS:
    for _which in ("in", "out"):
        case(
            f"connect/refused/{_kind}-as-{_which}",
            "RDV-11",
            "RDV-21",
            transports=_PIPES,
            text=f"A {_kind} in the place of the pipe `{_which}` is refused at once.",
        )(_no_pipe(_kind, _which))


def _beside_nothing(kind: str, which: str) -> Body:
    async def refused(t: Trial) -> None:
        absent = await t.absent()
        await _refuses(t, absent | {which: make_no_pipe(kind, t.directory)})

    return refused


for _kind in _KINDS:
    for _which, _other in (("in", "out"), ("out", "in")):
        case(
            f"connect/refused/{_kind}-as-{_which}-beside-nothing",
            "RDV-11",
            transports=_PIPES,
            text=f"A {_kind} in the place of `{_which}` is refused at once, while the pipe "
            f"`{_other}` is still missing.",
        )(_beside_nothing(_kind, _which))


def _untouched(which: str) -> Body:
    async def untouched(t: Trial) -> None:
        other = "out" if which == "in" else "in"
        paths = t.paths() | {which: make_no_pipe("file", t.directory)}
        # A blocking open returns as soon as the testee opens the other end.
        flags = os.O_WRONLY if other == "in" else os.O_RDONLY
        opening = t.spawn(t.open_blocking(paths[other], flags))
        await t.settle()
        await _refuses(t, paths)
        await t.settle()
        opened = opening.done()
        helping = os.open(paths[other], os.O_RDWR | os.O_NONBLOCK)
        os.close(await opening)
        os.close(helping)
        t.expect(
            not opened, f"the pipe `{other}`, beside a bad path", "untouched", "opened"
        )

    return untouched


for _which, _other in (("in", "out"), ("out", "in")):
    case(
        f"connect/refused/{_other}-is-not-opened",
        "RDV-11",
        transports=_PIPES,
        text=f"Where `{_which}` can never work, the pipe `{_other}` is not opened either.",
    )(_untouched(_which))


@case("connect/refused/another-owner", "RDV-21", transports=_PIPES)
async def another_owner(t: Trial) -> None:
    """A pipe of another user is refused at once."""
    if os.geteuid() != 0:
        t.skip("only root can make a pipe of another user")
    os.chown(t.server.testee_in, 12345, -1)
    await t.fail("bad-rendezvous", "connect", **t.paths(), timeout=2 * t.patience)


@case("connect/refused/the-same-pipe", "RDV-1", "RDV-11", transports=_PIPES)
async def same_pipe(t: Trial) -> None:
    """Two names of one pipe are refused, since an end would connect to itself."""
    paths = t.paths()
    other = os.path.join(t.directory, "other")
    os.link(paths["in"], other)
    await t.fail(
        "bad-rendezvous", "connect", **{"in": paths["in"], "out": other}, timeout=t.patience
    )


@case("connect/refused/swapped-pipes", "RDV-35", level="SHOULD", transports=_PIPES)
async def swapped_pipes(t: Trial) -> None:
    """A client that is told to read the pipe that the server reads is refused at once."""
    paths = t.paths()
    await t.fail("timeout", "connect", **paths, timeout=0)
    reader = os.open(paths["out"], os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(reader, fcntl.LOCK_EX)  # as a server does (RDV-34)
        await _refuses(t, {"in": paths["out"], "out": paths["in"]})
    finally:
        os.close(reader)


@case("connect/refused/unmapped-user", "RDV-38", transports=_PIPES)
async def unmapped_user(t: Trial) -> None:
    """Where the testee's own id stands for every user, a pipe with this id is refused."""
    await t.restart_where_no_user_is_mapped()
    await t.fail("bad-rendezvous", "connect", **t.paths(), timeout=t.patience / 2)
