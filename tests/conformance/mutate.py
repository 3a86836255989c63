"""Mutation testing of the conformance suite: ``nox -s suite_mutants``.

Faulty variants are made out of the clients' own code (variants.py), each in a
copy, and the suite has to find every one (judge.py). A variant that survives is
explained in survivors.toml, by what it changes: as equivalent, or as a gap of the
suite. One that is explained is not run again. What does not build, or does not
begin as a testee, is no variant.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.jobs import Jobs, exit_on_signals, outcome  # found by the line above
from conformance.judge import Fate, Judge
from conformance.mutated import NOT_OF_A_CLIENT, ROOT, Client, clients
from conformance.variants import Variant, sample

SURVIVORS = Path(__file__).with_name("survivors.toml")
COUNT = 55  # variants of each client
FAULTY = ("found", "unsteady", "error", "gap", "survived")
NOT_EXPECTED = ("survived", "error")  # what makes the run fail

Json = dict[str, Any]


def explained() -> dict[str, Any]:
    """Return the explanations of variants that survive, by file."""
    return tomllib.loads(SURVIVORS.read_text("utf-8"))


def explanation_of(variant: Variant, known: dict[str, Any]) -> Fate | None:
    for one in known.get(variant.file, []):
        if (one["before"], one["after"]) == (variant.before, variant.after):
            return Fate("gap" if one.get("gap") else "equivalent", one["why"])
    return None


class Progress:
    """Prints how far the variants of a client have come, and keeps what came of each."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._start = time.monotonic()
        self._results: list[Json] = []
        print(f"{name}: {total} variants", flush=True)

    def add(self, variant: Variant, fate: Fate) -> None:
        self._results.append(_without_code(variant) | {"fate": fate.kind, "why": fate.text})
        where = f"{self._name} {len(self._results)}/{self._total}, {self._elapsed()}"
        what = f"{variant.file}:{variant.line} {variant.kind}: {fate.kind}: {fate.text}"
        print(f"[{where}] {what}\n    {variant.before}\n    {variant.after}", flush=True)

    def finish(self) -> None:
        text = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        tried = f"{len(self._results)} of {self._total} variants"
        print(f"{self._name}: {tried} in {self._elapsed()}: {text}", flush=True)

    def counts(self) -> Counter[str]:
        return Counter(one["fate"] for one in self._results)

    def to_json(self) -> Json:
        seconds = round(time.monotonic() - self._start)
        return {
            "seconds": seconds,
            "variants": self._total,
            "counts": self.counts(),
            "results": self._results,
        }

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._start), 60)
        return f"{minutes}:{seconds:02}"


def _without_code(variant: Variant) -> Json:
    return {key: value for key, value in asdict(variant).items() if key != "code"}


@contextlib.contextmanager
def workers(count: int) -> Iterator[tuple[ThreadPoolExecutor, Jobs, Path]]:
    """Give threads, what starts their processes, and a directory; leave none behind."""
    jobs = Jobs()
    with tempfile.TemporaryDirectory(prefix="ipc-channel-mutants-") as directory:
        pool = ThreadPoolExecutor(count)
        try:
            yield pool, jobs, Path(directory)
        finally:
            jobs.end()
            pool.shutdown(cancel_futures=True)


def try_client(
    client: Client, wanted: list[Variant], count: int, tell: Callable[[Variant, Fate], None]
) -> None:
    """Try the variants of a client, and tell what became of each."""
    known = explained()
    with workers(count) as (pool, jobs, directory):
        judge = Judge(client, directory, count, jobs)
        # In a thread as well: a signal is to find this one ready to clean up.
        if (fate := outcome(pool.submit(judge.try_unchanged))).kind != "survived":
            raise RuntimeError(f"without any change: {fate.kind}: {fate.text}")

        def try_one(variant: Variant) -> Fate:
            return explanation_of(variant, known) or judge.try_out(variant)

        futures = [pool.submit(try_one, variant) for variant in wanted]
        for variant, future in zip(wanted, futures, strict=True):
            tell(variant, outcome(future))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s suite_mutants --", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help="go, js or python")
    parser.add_argument(
        "--count", type=int, default=COUNT, help="how many variants of each client"
    )
    parser.add_argument("--begin", type=int, default=0, help="how many are left out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--go", default="go", help="the Go tool")
    parser.add_argument("--node", default="node")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="only what survived in this report"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write what came of each as JSON"
    )
    return parser.parse_args()


def main() -> int:
    options = parse()
    all_clients = clients(options.go, options.node)
    done: dict[str, Progress] = {}
    try:
        for name in options.clients or all_clients:
            client = all_clients[name]
            count, seed = options.count, options.seed
            made = sample(ROOT, client.files, NOT_OF_A_CLIENT, count, seed)
            wanted = made[options.begin :]
            if options.again is not None:
                missed = survivors_of(options.again, name)
                wanted = [
                    one for one in wanted if (one.file, one.before, one.after) in missed
                ]
            done[name] = Progress(name, len(wanted))
            try_client(client, wanted, options.jobs, done[name].add)
            done[name].finish()
    finally:  # also of a run that was ended
        if options.report is not None:
            write_report(options.report, done)
    total = sum((one.counts() for one in done.values()), Counter())
    faulty = sum(total[kind] for kind in FAULTY)
    print(f"found {total['found']} of {faulty} faulty variants: {shlex.join(sys.argv)}")
    return int(any(total[kind] for kind in NOT_EXPECTED))


def survivors_of(file: Path, client: str) -> set[tuple[str, str, str]]:
    """Return the variants of a client that a report tells of as survivors."""
    results = json.loads(file.read_text("utf-8"))["clients"][client]["results"]
    return {
        (one["file"], one["before"], one["after"])
        for one in results
        if one["fate"] == "survived"
    }


def write_report(file: Path, done: dict[str, Progress]) -> None:
    report = {
        "command": sys.argv,
        "clients": {name: progress.to_json() for name, progress in done.items()},
    }
    file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    with exit_on_signals():
        sys.exit(main())
