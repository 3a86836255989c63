"""``python -m benchmarks.counts``: instructions and system calls of a message.

What a process executes can be counted, and is the same on a busy machine as on
a quiet one, unlike time. The driver of each pair runs twice, with different
numbers of messages; the difference, per message, is what one of them costs.
valgrind (callgrind) counts instructions outside the kernel, strace calls of it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.build import HERE, Tools, version
from benchmarks.contenders import BY_NAME, Contender
from benchmarks.processes import Pair
from benchmarks.workloads import WORKLOADS, Workload

RESULT = HERE / "results" / "counts.md"
PROGRAMS = ("valgrind", "strace")
NAMES = (
    "limit-pipe-python",
    "bare-pipe-asyncio",
    "ipc-pipe-asyncio",
    "original-pipe",
    "bare-pipe-uvloop",
    "ipc-pipe-uvloop",
    "limit-tcp-python",
    "ipc-tcp-asyncio",
    "original-tcp",
    "streams-tcp-asyncio",
    "ipc-tcp-uvloop",
    "streams-tcp-uvloop",
    "streams-unix-asyncio",
    "protocol-unix-asyncio",
    "stdio-asyncio",
    "streams-unix-uvloop",
    "protocol-unix-uvloop",
    "stdio-uvloop",
    "multiprocessing",
)
# The warm-up is in both numbers: only their difference counts.
NUMBERS = {"rt-64": (500, 2_500), "ow-64": (2_000, 12_000)}


@dataclass(frozen=True)
class Counter:
    """A program that runs another one and writes to a file what it has counted."""

    title: str
    command: Callable[[Path], list[str]]
    read: Callable[[str], int]


def _instructions(text: str) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    assert found, text[:200]
    return int(found[1])


def _calls(text: str) -> int:
    found = re.search(r"^\s*(\d+) total$", text, re.MULTILINE)
    assert found, text[-500:]
    return int(found[1])


COUNTERS = (
    Counter(
        "instructions",
        lambda path: ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}"],
        _instructions,
    ),
    Counter(
        "system calls",
        lambda path: ["strace", "-c", "-f", "-U", "calls,name", "-o", str(path)],
        _calls,
    ),
)  # fmt: skip


class Counting(Tools):
    """Tools whose drivers run under a counter."""

    def __init__(self, counter: Counter, path: Path) -> None:
        super().__init__()
        self._prefix = counter.command(path)

    def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
        return [*self._prefix, *super().driver(contender, directory, channels)]


def count(counter: Counter, contender: Contender, work: Workload, number: int) -> int:
    """Return what the driver's whole process took for ``number`` messages."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "counted"
        with Pair(contender, Counting(counter, path), (None, None)) as pair:
            pair.order(work.kind, number, work.size)
        return counter.read(path.read_text(errors="replace"))


def per_message(counter: Counter, contender: Contender, work: Workload) -> float:
    few, many = NUMBERS[work.name]
    spent = count(counter, contender, work, many) - count(counter, contender, work, few)
    return spent / (many - few)


def rows(names: list[str]) -> list[list[str]]:
    """Return a table: contenders, and what a message costs of each."""
    works = [work for work in WORKLOADS if work.name in NUMBERS]
    columns = [(work, counter) for work in works for counter in COUNTERS]
    table = [["", *(f"{work.title}, {counter.title}" for work, counter in columns)]]
    for name in names:
        contender = BY_NAME[name]
        cells = []
        for work, counter in columns:
            able = work.name not in contender.unable
            cost = per_message(counter, contender, work) if able else None
            cells.append(
                "" if cost is None else f"{cost:,.0f}" if cost > 99 else f"{cost:.2f}"
            )
            print(name, work.name, counter.title, cells[-1], file=sys.stderr, flush=True)
        table.append([name, *cells])
    return table


def markdown(table: list[list[str]]) -> str:
    head, *body = table
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def introduction() -> str:
    """Return what the counts are, and what they were taken on."""
    about = machine.describe(Tools(), (None, None))
    about |= {program: version([program, "--version"]) for program in PROGRAMS}
    return "\n".join(
        [
            "# What a message costs the driver\n",
            "Made by `nox -s counts`: instructions outside the kernel, as valgrind counts",
            "them, and system calls, as strace does, of the driver's process alone. Left out",
            "are those whose threads run beside the loop: pyzmq, pynng and gRPC.\n",
            *(f"- {key}: {value}" for key, value in about.items()),
            "\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s counts --", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*BY_NAME, []],
        metavar="NAME",
        help="contenders; nothing is written",
    )
    names = parser.parse_args().names
    for program in PROGRAMS:
        if shutil.which(program) is None:
            sys.exit(f"{program} is needed: install it with the system's packages")
    about = introduction()  # first: the counting itself is a load
    text = markdown(rows(names or list(NAMES)))
    if names:
        sys.stdout.write(text)
    else:
        RESULT.write_text(about + text, encoding="utf-8")


if __name__ == "__main__":
    main()
