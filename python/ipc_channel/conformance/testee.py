"""The testee as a process that gets requests (spec/conformance.md, "Control language")."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipc_channel.conformance import processes
from ipc_channel.conformance.case import TRANSPORTS, CaseFailedError
from ipc_channel.conformance.trace import Trace, shorten_text
from ipc_channel.helper.result import signal_name

LANGUAGE = 1
"""Version of the control language."""
ABILITIES = {
    *TRANSPORTS,
    "cancel",
    "concurrent",
    "max_message_size",
    "linger",
    "peer_user",
    "requests",
}
_ANSWER_LIMIT = 2**20  # bytes per line
_STDERR = 8192  # bytes of its tail
_PAUSE = 0.01  # seconds between checks whether it has ended
_KILLED = 5  # seconds that we wait for the end of a killed testee
_LAST_WORDS = 1  # seconds that what a wrapper has started may go on after its end

Reply = dict[str, Any]


class TesteeError(Exception):
    """The testee does not start, or violates the control language."""


@dataclass(frozen=True)
class Greeting:
    """How a testee describes itself."""

    name: str
    can: frozenset[str]
    version: str = ""


@dataclass
class Pending:
    """A request that was sent, and its future answer."""

    id: int
    text: str
    reply: asyncio.Future[Reply] = field(repr=False)


class Testee:
    """A running testee."""

    def __init__(
        self, process: asyncio.subprocess.Process, trace: Trace, stderr: Any
    ) -> None:
        self._process = process
        self._trace = trace
        self._stderr = stderr
        self._pending: dict[int, Pending] = {}
        self._last_id = 0
        self._breach: TesteeError | None = None  # a violation of the control language
        self._greeted: asyncio.Future[Greeting] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """How the testee ended, in words, once it has ended."""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        trace: Trace,
        inherited: Iterable[int] = (),
    ) -> Testee:
        """Start the command with these variables and no other ``IPC_CHANNEL_…``.

        ``inherited`` are descriptors that it keeps.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith("IPC_CHANNEL_")}
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by kill
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=kept | dict(environment),
                limit=_ANSWER_LIMIT,
                start_new_session=True,
                pass_fds=tuple(inherited),
            )
        except OSError as error:
            stderr.close()
            raise TesteeError(f"{command[0]} does not start: {error.strerror}") from error
        return cls(process, trace, stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def greeting(self) -> Greeting:
        """Return the testee's greeting."""
        return await asyncio.shield(self._greeted)

    def begin(self, do: str, **arguments: Any) -> Pending:
        """Send the testee a request; do not wait for its answer."""
        self._last_id += 1
        request = {"id": self._last_id, "do": do, **arguments}
        line = json.dumps(request)
        shown = {"do": do, **arguments}
        if "pattern" in shown:
            shown["pattern"] = f"({len(shown['pattern']) // 2} bytes)"
        text = shorten_text(json.dumps(shown))
        pending = Pending(
            self._last_id,
            f"request {self._last_id} {text}",
            asyncio.get_running_loop().create_future(),
        )
        self._pending[pending.id] = pending
        if self._breach is not None:
            raise self._breach
        self._trace.add(f"→ testee  {shorten_text(line)}")
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")
        return pending

    def stderr(self) -> str:
        """Return the tail of its standard error."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR))
        return str(self._stderr.read().decode("utf-8", "replace"))

    async def finish(self, patience: float) -> int | None:
        """End its standard input; return its status, None if it had to be killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._trace.add("→ testee  end of standard input")
        status = await self._exit(patience)
        if status is None:
            self._trace.add("testee  did not end and was killed")
        else:
            self._trace.add(f"testee  {describe(status)}")
        if self._breach is not None:
            raise self._breach
        return status

    async def _exit(self, patience: float) -> int | None:
        """Return its status; None if it does not end.

        ``Process.wait`` would wait for its children as well, if they hold its output.
        """
        deadline = time.monotonic() + patience
        while self._process.returncode is None and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)
        return self._process.returncode

    async def _end_of_others(self) -> None:
        """Wait for what a wrapper has started, such as a filter of its standard error.

        That says why a testee has ended.
        """
        deadline = time.monotonic() + _LAST_WORDS
        while processes.of_session(self.pid) and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)

    async def kill(self) -> None:
        """Kill what is left of its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._exit(_KILLED)
        self._process._transport.close()  # type: ignore[attr-defined]  # no public way, and others may hold its pipes
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        if not self._greeted.done():
            self._greeted.cancel()
        elif not self._greeted.cancelled():
            self._greeted.exception()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._stderr.close()

    async def _listen(self) -> None:
        try:
            while line := await self._next_line():
                self._on_line(line)
            # Its process usually exits a moment later.
            status = await self._exit(_KILLED)
            await self._end_of_others()
            how = "closed its standard output" if status is None else describe(status)
            self.ended.set_result(how)
            what = "the testee, with requests left to answer"
            self._fail(CaseFailedError(what, "it answers them", f"it {how}"), f"it {how}")
        except TesteeError as error:
            self._breach = error
            self._fail(error)
        except (ValueError, RecursionError) as error:
            self._breach = TesteeError(
                f"it printed a line that is not JSON in UTF-8: {error}"
            )
            self._fail(self._breach)

    async def _next_line(self) -> bytes:
        if self._process.stdout is None:
            raise TesteeError("it has no standard output")
        try:
            return await self._process.stdout.readline()
        except ValueError:
            raise TesteeError(f"it printed a line of over {_ANSWER_LIMIT} bytes") from None

    def _on_line(self, line: bytes) -> None:
        shown = shorten_text(line.decode("utf-8", "replace").rstrip("\n"))
        self._trace.add(f"← testee  {shown}")
        try:
            said = printable(json.loads(line))
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise TesteeError(
                f"it printed {shown!r}, which is not a JSON object; "
                "print only answers to standard output"
            )
        if not self._greeted.done():
            self._greeted.set_result(parse_greeting(said))
            return
        id_ = said.get("id")
        pending = self._pending.pop(id_, None) if type(id_) is int else None
        if pending is None:
            raise TesteeError(
                f"it answered {shown!r}, but no request of this id is pending"
            )
        if not pending.reply.done():
            pending.reply.set_result(said)

    def _fail(self, error: Exception, why: object = None) -> None:
        """Report the failure to the greeting and to every pending request."""
        if not self._greeted.done():
            self._greeted.set_exception(TesteeError(f"it did not greet: {why or error}"))
        for pending in self._pending.values():
            if not pending.reply.done():
                pending.reply.set_exception(error)
                pending.reply.exception()  # retrieved, or else asyncio logs an error
        self._pending.clear()


def describe(status: int) -> str:
    """Describe how a process ended; explain SIGPIPE, which is often forgotten."""
    if status >= 0:
        return f"ended with status {status}"
    name = signal_name(-status)
    hint = ": ignore it, and a write fails with EPIPE instead" if name == "SIGPIPE" else ""
    return f"was killed by {name}{hint}"


def parse_greeting(said: Mapping[str, Any]) -> Greeting:
    """Check the first line of a testee."""
    language = said.get("language")
    if language != LANGUAGE:
        raise TesteeError(f"its greeting has language {language!r}, not {LANGUAGE}")
    name, can = said.get("name"), said.get("can")
    if not (isinstance(name, str) and name):
        raise TesteeError(f"its greeting has no name: {name!r}")
    if not (isinstance(can, list) and all(isinstance(one, str) for one in can)):
        raise TesteeError(f"its greeting has no list of what it can: {can!r}")
    unknown = set(can) - ABILITIES
    if unknown:
        raise TesteeError(f"its greeting has unknown abilities: {sorted(unknown)}")
    return Greeting(name, frozenset(can), str(said.get("version", "")))


def printable(value: Any) -> Any:
    """Return a testee's text without characters that cannot be encoded."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [printable(one) for one in value]
    if isinstance(value, dict):
        return {str(printable(key)): printable(one) for key, one in value.items()}
    return value
