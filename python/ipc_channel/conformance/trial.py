"""One run of one case: the testee, the server's end, and the checks of both."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from ipc_channel import IPCChannel, make_ipc_channel
from ipc_channel.conformance import processes
from ipc_channel.conformance.case import CaseFailedError, NotApplicableError
from ipc_channel.conformance.dialogue import Dialogue
from ipc_channel.conformance.raw_server import RAW_SERVERS, RawServer, open_for_writing
from ipc_channel.conformance.testee import (
    Pending,
    describe,
)
from ipc_channel.conformance.trace import Trace
from ipc_channel.conformance.wire import Wire
from ipc_channel.transports.registry import named

_T = TypeVar("_T")


class Trial(Dialogue):
    """The tools of a case."""

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
        super().__init__(command, trace, patience)
        self.transport = transport
        self.kind = named(transport)
        self.directory = directory
        self.random = random.Random(seed)
        self._server: RawServer | None = None
        self._reference: IPCChannel | None = None
        self._wires: list[Wire] = []
        self._tasks: list[asyncio.Future[Any]] = []

    @property
    def server(self) -> RawServer:
        """The server's rendezvous, made on first use."""
        if self._server is None:
            self._server = self._new_server()
            self._server.appear()
        return self._server

    def _new_server(self) -> RawServer:
        kind = RAW_SERVERS[self.transport]
        return kind(self.directory, self.trace, self.patience)

    async def settle(self) -> None:
        """Give a wrong testee time to fail; a right testee does not need it."""
        await asyncio.sleep(0.03)

    def spawn(self, doing: Coroutine[Any, Any, _T]) -> asyncio.Future[_T]:
        """Run a coroutine in the background, at most until the end of the case."""
        task = asyncio.ensure_future(doing)
        self._tasks.append(task)
        return task

    # --- Connecting

    def paths(self) -> dict[str, str]:
        """Return the rendezvous that the testee is told."""
        return {"in": self.server.testee_in, "out": self.server.testee_out}

    async def absent(self) -> dict[str, str]:
        """Return a rendezvous that has no server until :meth:`appear`."""
        if self._server is not None:
            self._server.close()
        self._server = self._new_server()
        # Some runtimes open descriptors of their own when they first connect.
        await self.tell("connect", **self.paths(), timeout=0)
        return self.paths()

    def appear(self) -> None:
        """Make the absent server appear."""
        self.server.appear()

    def renew(self) -> None:
        """Renew the rendezvous, as a server does for its next session."""
        self.server.renew()

    def adopt(self, in_fd: int, out_fd: int) -> Wire:
        """Return a wire over pipes that the case has opened itself."""
        wire = Wire(in_fd, out_fd, None, self.trace, self.patience)
        self._wires.append(wire)
        return wire

    async def open_for_writing(self) -> int:
        """Open the pipe to the testee, as a stray opener does, once the testee reads it."""
        opening = open_for_writing(self.server.testee_in)
        opened = self.in_time(opening, "opened its reading end")
        return await self._unless_it_ends(opened, "opened its reading end")

    async def _unless_it_ends(self, doing: Coroutine[Any, Any, _T], what: str) -> _T:
        """Wait for something that needs the testee; fail as soon as its process ends."""
        task, ended = asyncio.ensure_future(doing), self.testee.ended
        try:
            either: set[asyncio.Future[Any]] = {task, ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise CaseFailedError(
                    "the testee", f"it has {what}", f"it {ended.result()} before it {what}"
                )
            return await task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def connecting(self, **options: Any) -> Pending:
        """Tell the testee to connect to the raw server; do not wait."""
        return self.begin("connect", **self.paths(), **self._patient(options))

    def _patient(self, options: dict[str, Any]) -> dict[str, Any]:
        """Set a linger that is long enough for a slow machine, unless an option sets another.

        An option that is None is left out, and so is the linger if the testee has none.
        """
        told = {"linger": self.patience / 2} | options
        if self.greeting is None or "linger" not in self.greeting.can:
            told["linger"] = None
        return {key: value for key, value in told.items() if value is not None}

    async def meet(self, **options: Any) -> Wire:
        """Connect the testee to a raw server."""
        pending = await self.connecting(timeout=self.patience, **options)
        wire = await self.come(pending, self.accept())
        await self.connected(pending)
        return wire

    async def come(self, pending: Pending, accepting: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the testee to connect, unless it reports a failure first."""
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

    async def open_blocking(self, path: str, flags: int) -> int:
        """Open a named pipe with a blocking open, as some servers do."""
        opening = asyncio.ensure_future(asyncio.to_thread(os.open, path, flags))
        try:
            return await self.in_time(asyncio.shield(opening), "opened its end of a pipe")
        except CaseFailedError:
            other = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # unblocks the thread
            os.close(await opening)
            os.close(other)
            raise

    async def accept(self) -> Wire:
        """Wait for the testee to connect; fail if its process ends before."""
        wire = await self._unless_it_ends(self.server.accept(), "connected")
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
            raise CaseFailedError(
                f"the testee after {self.patience} s", "it has connected", "it has not"
            )
        await self.connected(pending)
        return self._reference

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
            raise NotApplicableError("this system does not show the resources of a process")
        return found

    async def no_more_descriptors_than(self, before: list[str]) -> None:
        """Wait until the testee has no more descriptors open than before."""
        deadline = asyncio.get_running_loop().time() + self.patience
        while len(now := self.descriptors()) > len(before):
            if asyncio.get_running_loop().time() > deadline:
                left = sorted((Counter(now) - Counter(before)).elements())
                raise CaseFailedError(
                    "descriptors left open", f"{len(before)} descriptors", f"also {left}"
                )
            await asyncio.sleep(0.01)

    async def asleep(self) -> None:
        """Wait until the testee is idle for a moment, or has done much.

        Whatever it had begun before is done then.
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
        """Close the server's end; the testee must exit by itself."""
        for wire in self._wires:
            wire.close()
        # The testee may linger until its peer has gone.
        closing = [] if self._reference is None else [self._reference.close()]
        await asyncio.gather(self.finish_testee(), *closing)

    async def finish_testee(self) -> None:
        """End the testee's standard input, upon which it must exit."""
        status = await self.testee.finish(self.patience)
        if status is None:
            raise CaseFailedError(
                f"the testee {self.patience} s after the end of its standard input",
                "it has ended",
                "it runs",
            )
        if status != 0:
            raise CaseFailedError("how the testee ended", "status 0", describe(status))

    async def clean_up(self) -> None:
        """Free everything, whatever has happened."""
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
