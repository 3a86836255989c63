"""Mutation testing of the package: ``nox -s mutants -- framing sender``.

``--since COMMIT`` leaves out what was the same in that commit.

Each named module (all, if none is named) is changed in one place after the
other, and the tests that cover it must turn red each time. A mutant that
survives has to be explained in survivors.toml, by the line it changes and what
becomes of it, or the run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import WorkerOutcome, WorkResult

ROOT = Path(__file__).parents[2]
# A mutant that hangs costs time but no work, and every other one waits for peers.
WORKERS = 3 * (os.cpu_count() or 1)
SURVIVORS = Path(__file__).parent / "survivors.toml"
TESTS = {
    "framing": ["framing"],
    "rendezvous": ["rendezvous", "named_pipe", "pipe_refusals"],
    "receiver": [
        "receiver",
        "close",
        "streams",
        "sender",
        "tcp_socket",
        "use",
        "endpoint",
    ],
    "sender": ["sender", "close", "use", "tcp_socket"],
    "session": [
        "close",
        "use",
        "receiver",
        "sender",
        "tcp_socket",
        "named_pipe",
        "channel",
        "loops",
        "streams",
    ],
    "stream": [
        "stream",
        "endpoint",
        "close",
        "sender",
        "receiver",
        "tcp_socket",
        "use",
    ],
    "endpoint": [
        "endpoint",
        "connect_races",
        "loops",
        "tcp_listener",
        "use",
        "close",
        "channel",
        "helper",
    ],
    "named_pipe": [
        "named_pipe",
        "pipe_refusals",
        "passers_by",
        "connect_races",
        "endpoint",
        "use",
        "sender",
    ],
    "tcp_stream": [
        "tcp_socket",
        "tcp_listener",
        "streams",
        "close",
        "endpoint",
        "use",
        "receiver",
    ],
    "tcp_listener": ["tcp_listener", "peer_user", "use"],
    "tcp_socket": [
        "tcp_socket",
        "connect_races",
        "tcp_listener",
        "streams",
        "endpoint",
        "use",
        "channel",
        "peer_user",
    ],
    "peer_user": ["peer_user", "tcp_listener"],
    "waiter": ["waiter", "receiver", "use"],
}
# Sockets are where the loops differ.
ON_UVLOOP = {"receiver", "stream", "tcp_stream", "tcp_socket", "tcp_listener"}
SLOW = "debug or hundred or many_cycles"
# A test that hangs is ended, and a whole run only if even that does not help: the
# time it takes on a busy machine must not pass for a mutant that was noticed.
TEST_TIMEOUT, RUN_TIMEOUT = 20, 900  # seconds
# Of each operator's replacements the one that is hardest to notice. A bit-or
# stands in annotations, which nobody evaluates, and in sums of flags.
REPLACEMENTS = {
    "BinaryOperator": ["Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Div_Mul",
                       "Mod_Add", "BitAnd_BitOr", "LShift_RShift", "RShift_LShift"],
    "ComparisonOperator": ["Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt",
                           "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In"],
}  # fmt: skip
EXCLUDED = [
    rf"core/Replace{kind}_(?!({'|'.join(wanted)})$).*"
    for kind, wanted in REPLACEMENTS.items()
]


def run(*command: str, cwd: Path) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


def write_config(module: str, path: Path) -> None:
    tests = " ".join(f"tests/test_{name}.py" for name in TESTS[module])
    slow = SLOW if module in ON_UVLOOP else f"{SLOW} or uvloop"
    command = (
        f"env PYTHONPATH=python HYPOTHESIS_PROFILE=quick {sys.executable} -m pytest -x -q "
        f"-p no:cacheprovider --timeout={TEST_TIMEOUT} -k 'not ({slow})' {tests}"
    )
    path.write_text(
        f"""
[cosmic-ray]
module-path = "python/ipc_channel/{module}.py"
timeout = {RUN_TIMEOUT}.0
excluded-modules = []
test-command = {json.dumps(command)}

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = {json.dumps(EXCLUDED)}
"""
    )


def changed_rows(module: str, since: str | None) -> set[int] | None:
    """Return the numbers of the lines that are new since the commit; None for all."""
    if since is None:
        return None
    path = f"python/ipc_channel/{module}.py"
    rows: set[int] = set()
    for hunk in run("git", "diff", "-U0", since, "--", path, cwd=ROOT).splitlines():
        if found := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", hunk):
            start, count = int(found[1]), int(found[2] or 1)
            rows.update(range(start, start + count))
    return rows


def mutate(module: str, since: str | None) -> list[dict[str, str]]:
    """Return the mutants of ``module`` that its tests do not notice."""
    rows = changed_rows(module, since)
    with tempfile.TemporaryDirectory() as name:
        first = make_tree(Path(name) / "0", module)
        run("cosmic-ray", "init", "config.toml", "session.sqlite", cwd=first)
        run("cr-filter-operators", "session.sqlite", "config.toml", cwd=first)
        run("cosmic-ray", "baseline", "config.toml", cwd=first)
        trees = [first]
        for worker in range(1, WORKERS):
            trees.append(make_tree(Path(name) / str(worker), module))
            shutil.copy(first / "session.sqlite", trees[worker])
        with ThreadPoolExecutor(WORKERS) as pool:
            shares = list(pool.map(test_share, trees, range(WORKERS), [rows] * WORKERS))
    tested = [result for share in shares for result in share]
    unclear = sum(result[1]["output"] == "timeout" for result in tested)
    print(f"{module}: {len(tested)} mutants, {unclear} took too long", flush=True)
    return [
        describe(*result) for result in tested if result[1]["test_outcome"] == "survived"
    ]


def make_tree(tree: Path, module: str) -> Path:
    """Make a copy of the project in which a worker may change files."""
    for part in ("python", "tests", "spec"):
        shutil.copytree(ROOT / part, tree / part)
    shutil.copy(ROOT / "pyproject.toml", tree)
    write_config(module, tree / "config.toml")
    return tree


def test_share(tree: Path, worker: int, rows: set[int] | None) -> list[Any]:
    """Test every WORKERS-th mutant in ``tree``; return what became of them."""
    with use_db(tree / "session.sqlite") as session:
        wanted = 0
        for item in list(session.pending_work_items):
            mutation = item.mutations[0]
            mutated = range(mutation.start_pos[0], mutation.end_pos[0] + 1)
            is_wanted = rows is None or not rows.isdisjoint(mutated)
            wanted += is_wanted
            if not is_wanted or wanted % WORKERS != worker:
                session.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED))
    run("cosmic-ray", "exec", "config.toml", "session.sqlite", cwd=tree)
    lines = run("cosmic-ray", "dump", "session.sqlite", cwd=tree).splitlines()
    results = [json.loads(line) for line in lines]
    return [result for result in results if result[1]["worker_outcome"] == "normal"]


def describe(work: Any, result: Any) -> dict[str, str]:
    """Return what a mutant changes, in terms that outlive other changes of the file."""
    diff = result["diff"]
    changed = [line for line in diff.splitlines() if re.match(r"[-+](?![-+]{2})", line)]
    before = " ".join(line[1:].strip() for line in changed if line[0] == "-")
    after = " ".join(line[1:].strip() for line in changed if line[0] == "+")
    return {"before": before.strip(), "after": after.strip(), "diff": diff}


def is_explained(mutant: dict[str, str], explained: list[dict[str, str]]) -> bool:
    return any(
        item["before"] == mutant["before"] and item.get("after") in (None, mutant["after"])
        for item in explained
    )


def main() -> int:
    with SURVIVORS.open("rb") as file:
        explained = tomllib.load(file)
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--since", metavar="COMMIT")
    options = parser.parse_args()
    unexplained = 0
    for module in options.modules or TESTS:
        for mutant in mutate(module, options.since):
            known = explained.get(module, []) + explained["every_module"]
            if not is_explained(mutant, known):
                unexplained += 1
                print(f"survivor in {module}:\n{mutant['diff']}", flush=True)
    print(f"{unexplained} survivors without an explanation")
    return min(unexplained, 1)


if __name__ == "__main__":
    sys.exit(main())
