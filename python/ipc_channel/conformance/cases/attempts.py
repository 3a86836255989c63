"""The system calls that the testee makes in each attempt to connect, one after another."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from operator import sub

from ipc_channel.conformance.case import Body, CaseFailedError, case
from ipc_channel.conformance.cases.refused import make_no_pipe
from ipc_channel.conformance.raw_peer import CLOSE, frame
from ipc_channel.conformance.syscalls import Call, Kind, Watch, socket_of
from ipc_channel.conformance.trial import Trial

_PIPES = ("named_pipe",)
_TCP = ("tcp",)
_STEADY = 20  # attempts after which the pauses have reached their full length
# Half of the pause, in seconds. One attempt over TCP may take several calls.
_SHORTEST = {"named_pipe": 0.01, "unix": 0.01, "tcp": 0.004}
_SOON = (
    0.02  # seconds: longer than two of the first pauses, and shorter than two of the last
)
_LOOKS = 5  # before that is compared: one look may be slow by chance
_MOMENTS = 12  # at which a server appears: more than the calls of an attempt


async def watched(t: Trial, *more: Kind) -> Watch:
    """Watch the testee's connect calls, and ``more`` kinds of calls, or skip the case."""
    watch = await t.watched(*more)
    if watch.failure is not None:
        t.skip(f"the testee's system calls cannot be watched: {watch.failure}")
    return watch


def _attempts(t: Trial, watch: Watch) -> list[float]:
    """Return the times of the calls by which the testee has tried to reach its server."""
    path = t.paths()["out"].removeprefix("unix:")
    # The C library may connect to a socket of its own, to look up a name.
    own = {"connect": ("", path), "open": (path,)}
    return [call.at for call in watch.calls if call.path in own.get(call.kind, ())]


@case("connect/tries", "RDV-12", level="SHOULD")
async def tries(t: Trial) -> None:
    """Without a server, the testee keeps trying, with pauses of about 20 ms."""
    watch = await watched(t)
    paths = await t.absent() if t.kind.single_stream else t.paths()
    start = time.monotonic()
    watch.calls.clear()
    connecting = t.begin("connect", **paths, timeout=3 * t.patience)
    while len(found := _attempts(t, watch)) < 3 * _STEADY:
        if time.monotonic() > start + t.patience:
            raise CaseFailedError(
                f"attempts to connect in {t.patience} s", f">= {3 * _STEADY}", len(found)
            )
        t.expect(not connecting.reply.done(), "connect without a server", "waits", "done")
        await asyncio.sleep(0.01)
    # The fastest stretch, since a busy machine delays attempts that nothing else delays.
    took = min(map(sub, found[2 * _STEADY :], found[_STEADY:]))
    shortest = _STEADY * _SHORTEST[t.transport]
    t.expect(
        took >= shortest,
        f"the time of {_STEADY} attempts to connect",
        f">= {shortest} s",
        took,
    )
    t.appear()
    await t.come(connecting, t.accept())
    await t.connected(connecting)


@case("connect/tries-soon", "RDV-12", level="SHOULD")
async def tries_soon(t: Trial) -> None:
    """The first attempts follow each other within a few milliseconds."""
    watch = await watched(t)
    paths = await t.absent() if t.kind.single_stream else t.paths()
    # A busy machine delays all attempts, so compare the first with the last as well.
    first = last = 1.0
    looks, timeout = 0, 0.2
    end = time.monotonic() + 3 * t.patience
    while first >= _SOON and (looks < _LOOKS or first > last / 2):
        t.expect(time.monotonic() < end, "the time to the third attempt", "3 ms", first)
        watch.calls.clear()
        await t.fail("timeout", "connect", **paths, timeout=timeout)
        found = _attempts(t, watch)
        if len(found) > 8:
            first = min(first, found[2] - found[0])
            last = min(last, found[-1] - found[-3])
            looks += 1
        else:  # a busy machine had no time for more
            timeout *= 2


@case("connect/tcp/no-delay", "RDV-45", level="SHOULD", transports=_TCP)
async def no_delay(t: Trial) -> None:
    """Small messages do not wait for the acknowledgement of earlier data (TCP_NODELAY)."""
    watch = await watched(t)
    await t.meet()
    found = [call.value for call in watch.calls if call.kind == "no_delay"]
    t.expect(any(found[-1:]), "what TCP_NODELAY was set to", 1, found or "nothing")


@case("connect/tcp/meets-itself", "RDV-44", transports=_TCP)
async def meets_itself(t: Trial) -> None:
    """A client that the kernel connects to itself does not take that for its server."""
    watch = await watched(t)
    paths = await t.absent()
    met: list[Call] = []

    def bind(call: Call) -> None:
        """Bind the socket to the very port that it connects to, once."""
        if call.kind == "connect" and not met:
            with socket_of(call) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(("127.0.0.1", int(paths["in"])))
            met.append(call)

    watch.before = bind
    reply = await t.tell("connect", **paths, timeout=0.2)
    if not met:
        t.skip(f"no socket could be made to meet itself: {watch.failure or 'none came'}")
    t.check_error(reply, "timeout", "connect to a port of its own")


Act = Callable[[], None]


async def _at(t: Trial, watch: Watch, moment: int, act: Act, kind: Kind | None) -> None:
    """Act just before a call on a path, once the pauses have reached their full length.

    If ``kind`` is given, act before a call of this kind on the testee's ``in``.
    """
    seen: list[Call] = []
    done = asyncio.Event()
    paths = t.paths()

    def before(call: Call) -> None:
        if done.is_set() or call.path not in paths.values():
            return
        seen.append(call)
        if len(seen) > 9 * _MOMENTS:
            done.set()
        late = len(seen) > 2 * _MOMENTS + moment
        if late and (kind is None or (call.kind, call.path) == (kind, paths["in"])):
            done.set()
            act()

    watch.before = before
    await t.in_time(done.wait(), "looked at its paths again")
    if len(seen) > 9 * _MOMENTS:
        t.skip(f"the suite cannot see how this client looks at {paths['in']}")


@case("connect/pipes/visited-between-calls", "RDV-23", "RDV-25", transports=_PIPES)
async def visited(t: Trial) -> None:
    """If a server connects, writes, leaves and removes its pipes, its messages arrive."""
    watch = await watched(t)
    for moment in range(_MOMENTS):

        def visit() -> None:
            out = os.open(t.server.testee_in, os.O_WRONLY | os.O_NONBLOCK)
            os.write(out, frame(b"in passing") + CLOSE)
            os.close(out)
            os.unlink(t.server.testee_in)
            os.unlink(t.server.testee_out)

        t.trace.add(f"--- moment {moment}")
        connecting = await t.connecting(timeout=t.patience)
        await _at(t, watch, moment, visit, None)
        await t.connected(connecting)
        await t.reads(b"in passing")
        await t.reads_end("clean")
        await t.do("close")
        t.renew()


@case("connect/pipes/new-beside-old", "RDV-23", transports=_PIPES)
async def new_beside_old(t: Trial) -> None:
    """A client that holds an old pipe with a writer opens no new pipe beside it."""
    watch = await watched(t)
    for moment in range(_MOMENTS // 3):
        connecting = await t.connecting(timeout=t.patience)
        old = await t.open_for_writing()
        try:
            in_ = await _replace_at(t, watch, moment)
            peer = t.adopt(in_, await t.open_for_writing())
            await t.connected(connecting)
            await peer.send(frame(b"of one pair"))
            await t.reads(b"of one pair")
        finally:
            os.close(old)
        peer.close()
        await t.do("close")
        t.renew()


async def _replace_at(t: Trial, watch: Watch, moment: int) -> int:
    """Replace the pipes just before the testee checks its path; open the new one."""
    opened: list[int] = []

    def replace() -> None:
        t.server.renew()
        opened.append(os.open(t.server.testee_out, os.O_RDONLY | os.O_NONBLOCK))

    await _at(t, watch, moment, replace, "look")
    return opened[0]


def _becomes(kind: str, which: str) -> Body:
    async def becomes(t: Trial) -> None:
        watch = await watched(t)
        paths = t.paths()
        others = [make_no_pipe(kind, t.directory)]

        def replace(call: Call) -> None:
            if (call.kind, call.path) == ("open", paths[which]) and others:
                os.unlink(call.path)  # a directory cannot replace a file
                os.rename(others.pop(), call.path)

        # All pipes, also that behind a link, have readers, so only the kind is wrong.
        readers = [
            os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in (paths["out"], *others)
        ]
        watch.before = replace
        try:
            reply = await t.tell("connect", **paths, timeout=t.patience)
        finally:
            for reader in readers:
                os.close(reader)
        if others:
            t.skip(f"the suite cannot see how this client opens {paths[which]}")
        t.check_error(reply, "bad-rendezvous", "connect")

    return becomes


# The pipe that a client reads must be the one that `in` leads to (RDV-23).
for _kind, _which in (
    ("file", "in"),
    ("file", "out"),
    ("symlink", "out"),
    ("directory", "out"),
):
    case(
        f"connect/refused/{_which}-becomes-a-{_kind}",
        "RDV-21",
        transports=_PIPES,
        text=f"A pipe `{_which}` that becomes a {_kind} after it was looked at, and before "
        "it is opened, is refused.",
    )(_becomes(_kind, _which))
