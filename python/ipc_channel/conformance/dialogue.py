"""What a case tells the testee, and what it has to answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from ipc_channel.conformance import user_namespace
from ipc_channel.conformance.case import CaseFailedError, NotApplicableError, in_time
from ipc_channel.conformance.syscalls import Kind, UnsupportedError, Watch
from ipc_channel.conformance.testee import Greeting, Pending, Reply, Testee, TesteeError
from ipc_channel.conformance.trace import Trace, shorten_text

_T = TypeVar("_T")


class Dialogue:
    """Starts the testee, tells it what to do, and checks its answers."""

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

    async def restart_where_no_user_is_mapped(self) -> None:
        """Start the testee again, where every user looks like its own."""
        if not await user_namespace.is_supported():
            raise NotApplicableError("this system makes no user namespace for its users")
        self._command = user_namespace.command(self._command)
        try:
            await self.restart({})
        except TesteeError as error:
            raise NotApplicableError(
                f"the testee does not start in a user namespace: {error}"
            ) from None

    async def watched(self, *more: Kind) -> Watch:
        """Start the testee again, where its system calls can be seen, ``more`` if asked for."""
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
        """Tell it to do something, and go on."""
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
        """Tell it to do something and wait for the answer, which may be an error."""
        return await self.answer(self.begin(do, **arguments))

    async def do(self, do: str, **arguments: Any) -> Reply:
        """Tell it to do something that has to succeed."""
        pending = self.begin(do, **arguments)
        return self.check_ok(await self.answer(pending, "success"), pending.text)

    async def fail(self, code: str, do: str, **arguments: Any) -> Reply:
        """Tell it to do something that has to fail with this code."""
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
        """End the case without a verdict."""
        raise NotApplicableError(why)

    async def in_time(self, awaitable: Awaitable[_T], what: str) -> _T:
        """Wait for something of the server's end that needs the testee."""
        return await in_time(self.patience, awaitable, what)

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


def _error(reply: Reply) -> str:
    text = f": {reply['text']}" if reply.get("text") else ""
    return f"error {reply.get('error')!r}{text}"


def _shorten(reply: Reply) -> str:
    shown = {key: value for key, value in reply.items() if key != "id"}
    return shorten_text(str(shown))
