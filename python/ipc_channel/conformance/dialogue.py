"""The requests of a case to the testee, and the answers that it expects."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from ipc_channel.conformance import namespaces
from ipc_channel.conformance.case import CaseFailedError, NotApplicableError, in_time
from ipc_channel.conformance.syscalls import Kind, UnsupportedError, Watch
from ipc_channel.conformance.testee import Greeting, Pending, Reply, Testee, TesteeError
from ipc_channel.conformance.trace import Trace, shorten_text

_T = TypeVar("_T")


class Dialogue:
    """Starts the testee, sends it requests, and checks its answers."""

    def __init__(self, command: Sequence[str], trace: Trace, patience: float) -> None:
        self.trace = trace
        self.patience = patience
        self.greeting: Greeting | None = None
        self._command = command
        self._testee: Testee | None = None
        self._watch: Watch | None = None

    @property
    def testee(self) -> Testee:
        if self._testee is None:
            raise RuntimeError("the testee has not been started")
        return self._testee

    def stderr(self) -> str:
        return "" if self._testee is None else self._testee.stderr()

    async def start(self, environment: dict[str, str] | None = None) -> None:
        """Start the testee and read its greeting."""
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

    async def restart_where_no_user_is_mapped(self) -> None:
        """Start the testee again in a namespace where its own id stands for every user."""
        await self._restart_in(namespaces.UNMAPPED)

    async def restart_without_network(self) -> None:
        """Start the testee again where not even the loopback interface is up."""
        await self._restart_in(namespaces.NO_NETWORK)

    async def _restart_in(self, flags: int) -> None:
        if not await namespaces.is_supported(flags):
            raise NotApplicableError(
                "this system does not let this user make such namespaces"
            )
        self._command = namespaces.command(flags, self._command)
        try:
            await self.restart({})
        except TesteeError as error:
            raise NotApplicableError(
                f"the testee does not start in a namespace of its own: {error}"
            ) from None

    async def watched(self, *more: Kind) -> Watch:
        """Start the testee again, with its system calls watched, and ``more`` kinds of them."""
        self._watch = Watch(*more)
        await self.restart({})
        return self._watch

    async def _begin_to_watch(self, watch: Watch) -> None:
        try:
            await self.in_time(watch.begin(), "begun under a filter of its system calls")
        except UnsupportedError as error:
            raise NotApplicableError(str(error)) from None

    # --- Telling the testee

    def begin(self, do: str, **arguments: Any) -> Pending:
        """Send a request; do not wait for the answer."""
        return self.testee.begin(do, **arguments)

    async def answer(self, pending: Pending, expected: str = "an answer") -> Reply:
        """Wait for the answer to a request."""
        try:
            async with asyncio.timeout(self.patience):
                return await asyncio.shield(pending.reply)
        except TimeoutError:
            raise CaseFailedError(
                f"the answer to {pending.text}", expected, f"none in {self.patience} s"
            ) from None

    async def tell(self, do: str, **arguments: Any) -> Reply:
        """Send a request and wait for the answer, which may be an error."""
        return await self.answer(self.begin(do, **arguments))

    async def do(self, do: str, **arguments: Any) -> Reply:
        """Send a request that must succeed."""
        pending = self.begin(do, **arguments)
        return self.check_ok(await self.answer(pending, "success"), pending.text)

    async def fail(self, code: str, do: str, **arguments: Any) -> Reply:
        """Send a request that must fail with this code."""
        pending = self.begin(do, **arguments)
        reply = await self.answer(pending, f"error {code!r}")
        return self.check_error(reply, code, pending.text)

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
        """Skip the case."""
        raise NotApplicableError(why)

    async def in_time(self, awaitable: Awaitable[_T], what: str, times: int = 1) -> _T:
        """Wait for something at the server's end that depends on the testee.

        ``times`` the usual patience, for what keeps a slow machine busy for long.
        """
        return await in_time(times * self.patience, awaitable, what)

    # --- What the testee reads

    async def reads(self, *messages: bytes) -> None:
        """Make the testee read, and compare the messages."""
        for message in messages:
            self.check_message(await self.do("read"), message)

    def check_message(self, reply: Reply, message: bytes) -> None:
        got = reply.get("message")
        expected = {"size": len(message), "sha256": hashlib.sha256(message).hexdigest()}
        if got != expected:
            raise CaseFailedError(
                "the testee read another message",
                f"a message of {len(message)} bytes: {expected}",
                _shorten(reply),
            )

    async def reads_end(self, end: str, error: str | None = None) -> None:
        """Make the testee read an end in the vectors' notation; orderly without ``error``."""
        self.check_end(await self.tell("read"), end, error)

    async def reads_error(self, code: str, reason: str | None = None) -> None:
        """Make the testee read an end that is an error."""
        reply = await self.fail(code, "read")
        if reason is not None and reply.get("end") != reason:
            raise CaseFailedError("the end reason", repr(reason), repr(reply.get("end")))

    def check_end(self, reply: Reply, end: str, error: str | None) -> None:
        """Compare an answer with an end in the vectors' notation."""
        if reply.get("error") != error or reply.get("end") != end or "message" in reply:
            text = f"the end {end!r}" + (f" with error {error!r}" if error else "")
            raise CaseFailedError("the result of read", text, _shorten(reply))


def _error(reply: Reply) -> str:
    text = f": {reply['text']}" if reply.get("text") else ""
    return f"error {reply.get('error')!r}{text}"


def _shorten(reply: Reply) -> str:
    shown = {key: value for key, value in reply.items() if key != "id"}
    return shorten_text(str(shown))
