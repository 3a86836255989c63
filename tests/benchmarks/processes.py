"""The two processes of a pair: started, pinned, spoken to, and ended by their ids."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self

from benchmarks.build import ROOT, Tools
from benchmarks.contenders import Contender
from benchmarks.machine import Cores

PATIENCE = 60.0  # seconds for any one answer
_END = 5.0  # seconds for a process to end once it was told to


class PairError(Exception):
    """A pair did not do its work; the text says what its processes had to say."""


@functools.cache
def with_harness() -> tuple[str, ...]:
    """Return what to put before a command so that it is killed when the harness is.

    The kernel does it, so that it costs nothing, and whatever the process waits for.
    Without such a program, what waits for its input still ends.
    """
    command = ("setpriv", "--pdeathsig", "KILL")
    try:
        works = subprocess.run((*command, "true"), capture_output=True, check=False)
    except OSError:
        return ()
    return command if works.returncode == 0 else ()


@contextlib.contextmanager
def on_cores(cores: Cores) -> Iterator[None]:
    """Run on ``cores``, so that processes started meanwhile do, too."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _parse(line: str) -> dict[str, Any]:
    """Return the fields of a line; anything may print another, such as a library."""
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise PairError(f"a process said what is no answer: {line[:200]!r}")
    return said


class Process:
    """One process and the lines it says."""

    def __init__(self, command: Sequence[str], directory: str, cores: Cores) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed in end
        path = os.pathsep.join((str(ROOT / "python"), str(ROOT / "tests")))
        with on_cores(cores):
            self._process = subprocess.Popen(
                (*with_harness(), *command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=os.environ | {"PYTHONPATH": path, "TMPDIR": directory},
                bufsize=0,
            )
        self._heard = b""

    def tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")

    def hear(self, timeout: float) -> dict[str, Any] | None:
        """Return what the process says, or None if it says nothing within ``timeout``."""
        assert self._process.stdout
        deadline = time.monotonic() + timeout
        while b"\n" not in self._heard:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self._process.stdout], [], [], left)[0]:
                return None
            data = os.read(self._process.stdout.fileno(), 2**16)
            if not data:
                raise PairError("a process has ended")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return _parse(line.decode(errors="replace"))

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def private_memory(self) -> int:
        """Return the bytes of memory that this process shares with no other."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        lines = [line.split() for line in text.splitlines() if line.startswith("Private_")]
        return sum(int(words[1]) for words in lines) * 1024

    def finish(self) -> int | None:
        """Close its input and return its exit status; None if it does not end."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            return self._process.wait(_END)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> str:
        """End the process whatever it does; return the last of what it complained of."""
        if not self.ended:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self._errors.seek(0)
        with self._errors:
            return self._errors.read().decode(errors="replace")[-2000:]


class Pair:
    """A driver and its peer, connected from ``with`` on, and gone after it."""

    def __init__(
        self,
        contender: Contender,
        tools: Tools,
        cores: tuple[Cores, Cores],
        channels: int = 1,
        *,
        memory: bool = False,
    ) -> None:
        self._contender = contender
        self._tools = tools
        self._cores = cores
        self._channels = channels
        self._asks_memory = memory
        self._processes: list[Process] = []
        self._killed = False
        self._orders = 0
        self.first = 0
        """Nanoseconds from "go" until the driver had a first message on each channel."""
        self.before = 0
        """Bytes of private memory of both before "go", if ``memory`` was given."""

    def __enter__(self) -> Self:
        self._directory = tempfile.mkdtemp(prefix="bench-")
        try:
            self._start()
        except BaseException as error:
            self._clean_up(error)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None and not self._killed:
            try:
                self._quit()
            except PairError as problem:
                error = problem
        self._clean_up(error)

    def order(self, kind: str, count: int, size: int) -> dict[str, Any]:
        """Have the driver do something, and return what it reports."""
        self._orders += 1
        self._processes[0].tell(f"{self._orders} {kind} {count} {size}")
        answer = self._hear(0, "order")
        number = answer.pop("order")
        if number != self._orders:
            raise PairError(f"order {self._orders} got the answer to order {number}")
        return answer

    def memory(self) -> int:
        """Return the bytes of private memory of both processes together."""
        return sum(process.private_memory() for process in self._processes)

    def kill(self) -> None:
        """Let the pair be killed at the end, since it can do no more work."""
        self._killed = True

    def _start(self) -> None:
        directory, contender = self._directory, self._contender
        commands = (
            self._tools.driver(contender, directory, self._channels),
            self._tools.peer(contender, directory, self._channels),
        )
        for command, cores in zip(commands, self._cores, strict=True):
            self._processes.append(Process(command, directory, cores))
        driver, peer = self._processes
        address = self._hear(0, "address")["address"]
        self._hear(1, "address")
        if self._asks_memory:
            self.before = self.memory()
        start = time.monotonic_ns()
        driver.tell("go")
        peer.tell("\t".join(["go", *address]))
        self.first = self._hear(0, "first")["first"] - start

    def _hear(self, index: int, field: str) -> dict[str, Any]:
        """Return what one process says, which must have ``field``.

        Fail at once if the other one dies meanwhile.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            said = self._processes[index].hear(0.5)
            if said is not None:
                if field not in said:
                    raise PairError(f"no {field!r} in an answer: {str(said)[:200]}")
                return said
            if self._processes[1 - index].ended:
                raise PairError("the other process has ended")
        raise PairError(f"no answer within {PATIENCE:.0f} s")

    def _quit(self) -> None:
        for name, process in zip(("driver", "peer"), self._processes, strict=True):
            status = process.finish()
            if status != 0:
                raise PairError(f"the {name} ended with status {status}, not 0")

    def _clean_up(self, error: BaseException | None) -> None:
        """End everything; raise PairError if ``error`` says that the work was not done."""
        complaints = [process.end() for process in self._processes]
        shutil.rmtree(self._directory, ignore_errors=True)
        if isinstance(error, (PairError, OSError)):
            named = zip(("driver", "peer"), complaints, strict=False)
            said = "".join(f"\n--- {name}\n{text}" for name, text in named if text)
            raise PairError(f"{self._contender.name}: {error}{said}") from error
