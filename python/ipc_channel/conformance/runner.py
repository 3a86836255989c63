"""Runs cases, several at a time, each with a testee and a directory of its own."""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ipc_channel import FrameTooLargeError, IPCChannelError, TruncatedError
from ipc_channel.conformance.case import (
    CATALOGUE,
    Case,
    CaseFailedError,
    NotApplicableError,
)
from ipc_channel.conformance.testee import Greeting, TesteeError
from ipc_channel.conformance.trace import Trace, shorten_text
from ipc_channel.conformance.trial import Trial
from ipc_channel.transports.temporary_directory import short_directory
from ipc_channel.transports.unix_address import MAX_PATH

Status = Literal["passed", "failed", "warned", "known", "fixed", "skipped"]
"""The outcome of a case.

``warned`` is a SHOULD that was not done, ``known`` a failure that was listed,
``fixed`` one that was listed and passes.
"""
_FIRST = "connect/server-first"  # the simplest case, which a client passes first
_PREFIX = "ipc-channel-"
_ROOM = len(_PREFIX) + 40  # bytes for the rest of a name, and what the cases make in it
_CASE = 12  # times the patience of anything in it
_RED: frozenset[Status] = frozenset({"failed", "fixed"})


@dataclass(frozen=True)
class Result:
    """The outcome of one case."""

    case: Case
    status: Status
    seconds: float
    what: str = ""
    """Why it failed or was skipped, in a sentence."""
    expected: str = ""
    actual: str = ""
    trace: list[str] = field(default_factory=list)
    stderr: str = ""

    @property
    def is_red(self) -> bool:
        """Whether it makes the run fail."""
        return self.status in _RED


@dataclass(frozen=True)
class Run:
    """Which cases to run, and how."""

    command: Sequence[str]
    transports: Sequence[str]
    wanted: Sequence[str] = ()
    """Patterns of ids; all, if there is none."""
    unwanted: Sequence[str] = ()
    known_failing: frozenset[str] = frozenset()
    """Names of cases that are expected to fail."""
    strict: bool = False
    patience: float = 10
    """Seconds that the testee may take for any request."""
    max_failures: int | None = None
    """Number of failures after which no more cases are started; None for no limit."""
    first_check: bool = True
    """Whether to stop if not even the simplest case passes."""
    jobs: int = 4
    seed: int = 0
    trace: bool = False
    """Whether to show the trace of failed cases."""

    def cases(self) -> list[Case]:
        """Return the selected cases, in the order of the catalogue."""
        return [
            case
            for case in CATALOGUE
            if case.transport in self.transports
            and (not self.wanted or matches(case, self.wanted))
            and not matches(case, self.unwanted)
        ]


def matches(case: Case, patterns: Iterable[str]) -> bool:
    """Whether a pattern is the id, a part of it up to a slash, or a shell pattern for it."""
    return any(
        fnmatch.fnmatchcase(text, pattern) or case.id.startswith(pattern.rstrip("/") + "/")
        for pattern in patterns
        for text in (case.id, case.name)
    )


async def greet(run: Run) -> Greeting:
    """Start the testee once, and return its greeting.

    Raises TesteeError, which says what to do, and OSError if the cases can have no directory.
    """
    for transport in run.transports:
        _directory(transport).cleanup()
    with _directory(run.transports[0]) as directory:
        trial = _trial(run, run.transports[0], directory, Trace())
        try:
            await trial.start()
            if trial.greeting is None:
                raise TesteeError("it did not greet")
            return trial.greeting
        except TesteeError as error:
            tail = trial.stderr().strip()
            raise TesteeError(f"{error}" + (f"\n{tail}" if tail else "")) from None
        finally:
            await trial.clean_up()


class RunOfAll:
    """Runs every case, and reports each result at once."""

    def __init__(
        self, run: Run, can: frozenset[str], on_result: Callable[[Result], None]
    ) -> None:
        self._run = run
        self._can = can
        self._on_result = on_result
        self._free = asyncio.Semaphore(run.jobs)
        self._failures = 0
        self._stopped = ""  # why no more cases are started

    async def complete(self) -> None:
        """Run the simplest case over each transport, then all others concurrently."""
        if self._run.first_check:
            first = [
                case
                for case in CATALOGUE
                if case.id == _FIRST and case.transport in self._run.transports
            ]
            results = [await run_case(self._run, case, self._can) for case in first]
            if {result.status for result in results} <= {"failed", "skipped"}:
                self._stopped = (
                    f"{_FIRST} does not pass, without which no other case can;"
                    " --no-first-check runs them all the same"
                )
                for result in results:
                    self._on_result(judge(self._run, result))
        async with asyncio.TaskGroup() as group:
            for case in self._run.cases():
                if not (self._stopped and case in first):
                    group.create_task(self._one(case))

    async def _one(self, case: Case) -> None:
        async with self._free:
            if self._stopped:
                self._on_result(Result(case, "skipped", 0, self._stopped))
                return
            result = judge(self._run, await run_case(self._run, case, self._can))
            self._failures += result.status == "failed"
            if self._failures == self._run.max_failures:
                self._stopped = f"{self._failures} cases had failed (--max-failures)"
            self._on_result(result)


def judge(run: Run, result: Result) -> Result:
    """Apply the run's options for known failures and for SHOULD."""
    is_listed = result.case.name in run.known_failing or result.case.id in run.known_failing
    if is_listed and result.status == "failed":
        return replace(result, status="known")
    if is_listed and result.status == "passed":
        return replace(
            result, status="fixed", what="it passes, though it is listed as known to fail"
        )
    if result.status == "failed" and result.case.level == "SHOULD" and not run.strict:
        return replace(result, status="warned")
    return result


async def run_case(run: Run, case: Case, can: frozenset[str]) -> Result:
    """Run one case; return a result, whatever it raises."""
    start = time.monotonic()
    missing = sorted((case.needs | {case.transport}) - can)
    if missing:
        return Result(case, "skipped", 0, f"the testee cannot: {', '.join(missing)}")
    trace = Trace()
    with _directory(case.transport) as directory:
        trial = _trial(run, case.transport, directory, trace)
        failure: CaseFailedError | None = None
        try:
            # A safety net: every step has a time limit of its own.
            async with asyncio.timeout(_CASE * run.patience):
                await trial.start()
                await case.body(trial)
                await trial.finish()
        except NotApplicableError as error:
            return Result(case, "skipped", time.monotonic() - start, str(error))
        except CaseFailedError as error:
            failure = error
        except TesteeError as error:
            failure = CaseFailedError("what the testee says", "the control language", error)
        except (TruncatedError, FrameTooLargeError) as error:
            failure = CaseFailedError("what the testee sent", "frames", error)
        except (ConnectionError, IPCChannelError) as error:
            failure = CaseFailedError(
                "the testee's end of the connection", "open", f"gone: {error}"
            )
        except TimeoutError:
            due = trace.lines()[-1].strip() if trace.lines() else "nothing"
            failure = CaseFailedError(
                f"the case after {_CASE * run.patience} s",
                "it has ended",
                f"it has not; the last event: {due}",
            )
        except Exception as error:  # noqa: BLE001  # one case must not end the others
            trace.add("".join(traceback.format_exception(error)))
            failure = CaseFailedError("an error of the suite itself", "none", repr(error))
        finally:
            stderr = trial.stderr()
            await trial.clean_up()
    seconds = time.monotonic() - start
    if failure is None:
        return Result(case, "passed", seconds)
    trace.add(f"failed: {failure}")
    return Result(
        case,
        "failed",
        seconds,
        failure.what,
        _shown(failure.expected),
        _shown(failure.actual),
        trace.lines(),
        stderr,
    )


def _directory(transport: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new directory for one case, in which the path of a socket has its room."""
    parent = None
    if transport == "unix":
        parent = short_directory(
            _ROOM, MAX_PATH, logging.getLogger(__name__), is_open=False
        )
    return tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent)


def _shown(value: object) -> str:
    return shorten_text(str(value)) or "nothing"


def _trial(run: Run, transport: str, directory: str, trace: Trace) -> Trial:
    return Trial(
        transport=transport,
        command=run.command,
        directory=directory,
        trace=trace,
        patience=run.patience,
        seed=run.seed,
    )
