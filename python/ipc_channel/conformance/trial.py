"""One run of one case: the testee, the server's end, and what is expected of both."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import Counter
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from ipc_channel import IPCChannel, make_ipc_channel
from ipc_channel.conformance import processes
from ipc_channel.conformance.case import CaseFailedError, NotApplicableError, in_time
from ipc_channel.conformance.syscalls import UnsupportedError, Watch
from ipc_channel.conformance.testee import (
    Greeting,
    Pending,
    Reply,
    Testee,
    TesteeError,
    describe,
)
from ipc_channel.conformance.trace import Trace, shorten_text
from ipc_channel.conformance.wire import RawServer, Wire, open_for_writing

_T = TypeVar("_T")


class Trial:
    """What a case works with."""

    def __init__(
        self,
        *,
        transport: str,
        command: Sequence[str],
        directory: str,
        trace: Trace,
        patience: float,
        seed: int,
    ) -> None:
        self.transport = transport
        self.patience = patience
        self.directory = directory
        self.trace = trace
        self.random = random.Random(seed)
        self._command = command
        self._testee: Testee | None = None
        self._server: RawServer | None = None
        self._reference: IPCChannel | None = None
        self._wires: list[Wire] = []
        self._tasks: list[asyncio.Future[Any]] = []
        self._watch: Watch | None = None
        self.greeting: Greeting | None = None

    @property
    def testee(self) -> Testee:
        if self._testee is None:
            raise RuntimeError("the testee has not been started")
        return self._testee

    @property
    def server(self) -> RawServer:
        """The rendezvous, made when it is first asked for."""
        if self._server is None:
            self._server = self._new_server()
            self._server.appear()
        return self._server

    def _new_server(self) -> RawServer:
        return RawServer(self.transport, self.directory, self.trace, self.patience)

    async def start(self, environment: dict[str, str] | None = None) -> None:
        """Start the testee and hear its greeting."""
        command, inherited = self._command, []
        if self._watch is not None:
            command, inherited = self._watch.command(command), [self._watch.theirs.fileno()]
        self._testee = await Testee.start(command, environment or {}, self.trace, inherited)
        if self._watch is not None:
            await self._begin_to_watch(self._watch)
        try:
            async with asyncio.timeout(self.patience):
                self.greeting = await self._testee.greeting()
        except TimeoutError:
            raise TesteeError(f"it did not greet within {self.patience} s") from None

    async def restart(self, environment: dict[str, str]) -> None:
        """Start the testee again, with these variables."""
        before, self._testee = self.testee, None
        try:
            await before.finish(self.patience)
        finally:
            await before.kill()
        await self.start(environment)

    async def watched(self) -> Watch:
        """Start the testee again, where its system calls can be seen."""
        self._watch = Watch()
        await self.restart({})
        return self._watch

    async def _begin_to_watch(self, watch: Watch) -> None:
        try:
            await self.in_time(watch.begin(), "begun under a filter of its system calls")
        except UnsupportedError as error:
            raise NotApplicableError(str(error)) from None

    # --- Telling the testee

    def begin(self, do: str, **arguments: Any) -> Pending:
        """Tell it to do something, and go on."""
        return self.testee.begin(do, **arguments)

    async def answer(self, pending: Pending) -> Reply:
        """Wait for the answer to a request."""
        try:
            async with asyncio.timeout(self.patience):
                return await asyncio.shield(pending.reply)
        except TimeoutError:
            raise CaseFailedError(
                f"no answer in {self.patience} s to {pending.text}"
            ) from None

    async def tell(self, do: str, **arguments: Any) -> Reply:
        """Tell it to do something and wait for the answer, which may be an error."""
        return await self.answer(self.begin(do, **arguments))

    async def do(self, do: str, **arguments: Any) -> Reply:
        """Tell it to do something that has to succeed."""
        pending = self.begin(do, **arguments)
        return self.check_ok(await self.answer(pending), pending.text)

    async def fail(self, code: str, do: str, **arguments: Any) -> Reply:
        """Tell it to do something that has to fail with this code."""
        pending = self.begin(do, **arguments)
        return self.check_error(await self.answer(pending), code, pending.text)

    def check_ok(self, reply: Reply, request: str) -> Reply:
        if "error" in reply:
            raise CaseFailedError(
                f"the testee failed to {request}", "success", _error(reply)
            )
        return reply

    def check_error(self, reply: Reply, code: str, request: str) -> Reply:
        got = reply.get("error")
        if got != code:
            actual = _error(reply) if got else f"success: {_shorten(reply)}"
            raise CaseFailedError(f"the answer to {request}", f"error {code!r}", actual)
        return reply

    def expect(self, condition: bool, what: str, expected: Any, actual: Any) -> None:
        """Fail the case unless ``condition``."""
        if not condition:
            raise CaseFailedError(what, expected, actual)

    def skip(self, why: str) -> None:
        """End the case without a verdict."""
        raise NotApplicableError(why)

    async def settle(self) -> None:
        """Give a wrong testee time to go wrong; a right one passes without."""
        await asyncio.sleep(0.03)

    def spawn(self, doing: Coroutine[Any, Any, _T]) -> asyncio.Future[_T]:
        """Do something meanwhile, at the longest until the end of the case."""
        task = asyncio.ensure_future(doing)
        self._tasks.append(task)
        return task

    # --- Connecting

    def paths(self) -> dict[str, str]:
        """Return what the testee is told to connect to."""
        return {"in": self.server.testee_in, "out": self.server.testee_out}

    async def absent(self) -> dict[str, str]:
        """Return what to connect to while nobody is there, until :meth:`appear`."""
        self._server = self._new_server()
        # Some runtimes open descriptors of their own when they first connect.
        await self.tell("connect", **self.paths(), timeout=0)
        return self.paths()

    def appear(self) -> None:
        """Let the server that was absent be there."""
        self.server.appear()

    def renew(self) -> None:
        """Make new pipes, as a server does for its next session."""
        if self.transport == "named_pipe":
            self.server.make_pipes()

    def adopt(self, in_fd: int, out_fd: int) -> Wire:
        """Return what a case has opened by itself (named pipes)."""
        wire = Wire(in_fd, out_fd, None, self.trace, self.patience)
        self._wires.append(wire)
        return wire

    async def open_for_writing(self) -> int:
        """Open the pipe to the testee, as a passer-by does, once the testee reads it."""
        opening = open_for_writing(self.server.testee_in)
        return await self.in_time(opening, "opened its reading end")

    async def connecting(self, **options: Any) -> Pending:
        """Tell the testee to connect to the raw server, and go on."""
        return self.begin("connect", **self.paths(), **self._patient(options))

    def _patient(self, options: dict[str, Any]) -> dict[str, Any]:
        """Let the testee linger as long as a slow machine may take, unless told otherwise."""
        can_linger = self.greeting is not None and "linger" in self.greeting.can
        return ({"linger": self.patience / 2} if can_linger else {}) | options

    async def meet(self, **options: Any) -> Wire:
        """Connect the testee to a raw server."""
        pending = await self.connecting(timeout=self.patience, **options)
        wire = await self.come(pending, self.accept())
        await self.connected(pending)
        return wire

    async def come(self, pending: Pending, accepting: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the testee to come, unless it says first that it will not."""
        task = asyncio.ensure_future(accepting)
        try:
            either: set[asyncio.Future[Any]] = {task, pending.reply}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if pending.reply.done():
                self.check_ok(pending.reply.result(), "connect")
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def in_time(self, awaitable: Awaitable[_T], what: str) -> _T:
        """Wait for something of the server's end that needs the testee."""
        return await in_time(self.patience, awaitable, what)

    async def open_blocking(self, path: str, flags: int) -> int:
        """Open a named pipe as a server does that blocks in it."""
        opening = asyncio.ensure_future(asyncio.to_thread(os.open, path, flags))
        try:
            return await self.in_time(asyncio.shield(opening), "opened its end of a pipe")
        except CaseFailedError:
            other = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # which lets the thread go
            os.close(await opening)
            os.close(other)
            raise

    async def accept(self) -> Wire:
        """Wait for the testee to connect, unless its process ends before."""
        accepting = asyncio.ensure_future(self.server.accept())
        ended = self.testee.ended
        try:
            either: set[asyncio.Future[Any]] = {accepting, ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                raise CaseFailedError(f"the testee {ended.result()} before it connected")
            wire = await accepting
        finally:
            accepting.cancel()
            await asyncio.wait({accepting})
        self._wires.append(wire)
        return wire

    async def connected(self, pending: Pending) -> None:
        self.check_ok(await self.answer(pending), "connect")

    async def meet_channel(self, **options: Any) -> IPCChannel:
        """Connect the testee to the Python channel."""
        self._reference = make_ipc_channel(
            transport=self.transport,  # type: ignore[arg-type]  # a plain str here
            linger=self.patience,
        )
        pending = self.begin(
            "connect",
            timeout=self.patience,
            **{"in": self._reference.out_path, "out": self._reference.in_path},
            **self._patient(options),
        )
        if not await self.come(pending, self._reference.connect(self.patience)):
            raise CaseFailedError(f"the testee has not connected in {self.patience} s")
        await self.connected(pending)
        return self._reference

    # --- What the testee reads

    async def reads(self, *messages: bytes) -> None:
        """Let the testee read, and compare what it got."""
        for message in messages:
            self.check_message(await self.do("read"), message)

    def check_message(self, reply: Reply, message: bytes) -> None:
        got = reply.get("message")
        expected = {"size": len(message), "sha256": hashlib.sha256(message).hexdigest()}
        if got != expected:
            raise CaseFailedError(
                "the testee read something else",
                f"a message of {len(message)} bytes: {expected}",
                _shorten(reply),
            )

    async def reads_end(self, end: str, error: str | None = None) -> None:
        """Let the testee read an end as the vectors write it; orderly without ``error``."""
        self.check_end(await self.tell("read"), end, error)

    async def reads_error(self, code: str, reason: str | None = None) -> None:
        """Let the testee read an end that is an error."""
        reply = await self.fail(code, "read")
        if reason is not None and reply.get("end") != reason:
            raise CaseFailedError("the end reason", repr(reason), repr(reply.get("end")))

    def check_end(self, reply: Reply, end: str, error: str | None) -> None:
        """Compare an answer with an end as the vectors write it."""
        if reply.get("error") != error or reply.get("end") != end or "message" in reply:
            text = f"the end {end!r}" + (f" with error {error!r}" if error else "")
            raise CaseFailedError("what read gives", text, _shorten(reply))

    # --- Looking at the testee

    def descriptors(self) -> list[str]:
        """Return the files, pipes and sockets that the testee's processes have open."""
        return processes.descriptors(self._processes())

    def memory(self) -> int:
        """Return the most bytes that the testee's processes have held."""
        return processes.memory(self._processes())

    def _processes(self) -> list[str]:
        found = processes.of_session(self.testee.pid)
        if not found:
            raise NotApplicableError("this system does not show what a process holds")
        return found

    async def no_more_descriptors_than(self, before: list[str]) -> None:
        """Wait until the testee has as few open as before."""
        deadline = asyncio.get_running_loop().time() + self.patience
        while len(now := self.descriptors()) > len(before):
            if asyncio.get_running_loop().time() > deadline:
                left = sorted((Counter(now) - Counter(before)).elements())
                raise CaseFailedError(
                    "descriptors left open", f"{len(before)} descriptors", f"also {left}"
                )
            await asyncio.sleep(0.01)

    async def asleep(self) -> None:
        """Wait until the testee does nothing for a moment, or has done much.

        Whatever it was about to do is done then.
        """
        before: int | None = None
        found = self._processes()
        for _ in range(100):
            now = processes.switches(found)
            if now is not None and now == before:
                return
            before = now
            await asyncio.sleep(0.001 if now is None else 0)

    # --- Ending

    async def finish(self) -> None:
        """Leave the testee, which has to go by itself."""
        for wire in self._wires:
            wire.close()
        # The testee may linger until its peer has gone.
        closing = [] if self._reference is None else [self._reference.close()]
        await asyncio.gather(self.finish_testee(), *closing)

    async def finish_testee(self) -> None:
        """End the testee's input, upon which it has to end."""
        status = await self.testee.finish(self.patience)
        if status is None:
            raise CaseFailedError(
                f"the testee still ran {self.patience} s after the end of its standard input"
            )
        if status != 0:
            raise CaseFailedError("how the testee ended", "status 0", describe(status))

    async def clean_up(self) -> None:
        """Leave nothing behind, whatever has happened."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watch is not None:
            self._watch.close()
        for wire in self._wires:
            wire.close()
        if self._server is not None:
            self._server.close()
        if self._testee is not None:
            await self._testee.kill()
        if self._reference is not None:
            await self._reference.close()

    def stderr(self) -> str:
        return "" if self._testee is None else self._testee.stderr()


def _error(reply: Reply) -> str:
    text = f": {reply['text']}" if reply.get("text") else ""
    return f"error {reply.get('error')!r}{text}"


def _shorten(reply: Reply) -> str:
    shown = {key: value for key, value in reply.items() if key != "id"}
    return shorten_text(str(shown))
