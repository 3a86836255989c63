"""Mutation testing of the package: ``nox -s mutants -- framing sender``.

Each named module (all, if none is named) is changed in one place after the
other, and the tests that cover it must turn red each time. A mutant that
survives has to be explained in survivors.toml, by the line it changes and what
becomes of it, or the run fails; one that is explained there is not run. So does
a run that finds an explanation of nothing.
``--since COMMIT`` leaves out the lines that were the same in that commit.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutation.tested_by import ON_UVLOOP, TESTS, source_of  # found by the line above
from named_tests import ROOT, files_of

# A mutant that hangs costs time but no work, and every other one waits for peers.
WORKERS = 3 * (os.cpu_count() or 1)
SURVIVORS = Path(__file__).parent / "survivors.toml"
SLOW = "debug or hundred or many_cycles"
# A test that hangs is ended, and a whole run only if even that does not help: the
# time it takes on a busy machine must not pass for a mutant that was noticed.
TEST_TIMEOUT, RUN_TIMEOUT = 20, 900  # seconds
# Of each operator's replacements the one that is hardest to notice. A bit-or
# stands in annotations, which are not evaluated, and in sums of flags.
REPLACEMENTS = {
    "BinaryOperator": ["Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Div_Mul",
                       "Mod_Add", "BitAnd_BitOr", "LShift_RShift", "RShift_LShift"],
    "ComparisonOperator": ["Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt",
                           "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In"],
}  # fmt: skip
EXCLUDED = [
    re.compile(rf"core/Replace{kind}_(?!({'|'.join(wanted)})$).*")
    for kind, wanted in REPLACEMENTS.items()
]


@dataclass(frozen=True)
class Mutant:
    """A module in which one thing has been changed."""

    module: str
    code: str
    before: str
    """The lines that were changed, without indentation, and what became of them."""
    after: str
    rows: range
    diff: str


def mutants(module: str) -> Iterator[Mutant]:
    """Yield every mutant of ``module`` once."""
    code = (ROOT / source_of(module)).read_text("utf-8")
    seen = {code}
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments() or any(one.match(name) for one in EXCLUDED):
            continue
        for occurrence in itertools.count():
            mutated = mutate_code(code, operator(), occurrence)
            if mutated is None:
                break
            if mutated not in seen and is_python(mutated):
                seen.add(mutated)
                yield describe(module, code, mutated)


def is_python(code: str) -> bool:
    """Whether it compiles, which not all that an operator makes does."""
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def describe(module: str, code: str, mutated: str) -> Mutant:
    lines, others = code.splitlines(), mutated.splitlines()
    blocks = difflib.SequenceMatcher(None, lines, others, autojunk=False).get_opcodes()
    changed = [block[1:] for block in blocks if block[0] != "equal"]
    start, end = changed[0][0], changed[-1][1]
    return Mutant(
        module,
        mutated,
        before=" ".join(map(str.strip, lines[start:end])).strip(),
        after=" ".join(map(str.strip, others[changed[0][2] : changed[-1][3]])).strip(),
        rows=range(start + 1, end + 1),
        diff="\n".join(difflib.unified_diff(lines, others, lineterm="", n=2)),
    )


def is_about(explanation: dict[str, str], mutant: Mutant) -> bool:
    after = explanation.get("after", mutant.after)
    return (explanation["before"], after) == (mutant.before, mutant.after)


def changed_rows(module: str, since: str) -> set[int]:
    """Return the numbers of the lines that are new since the commit."""
    command = ["git", "diff", "-U0", since, "--", str(source_of(module))]
    diff = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    rows: set[int] = set()
    for start, count in re.findall(
        r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", diff.stdout, re.MULTILINE
    ):
        rows.update(range(int(start), int(start) + int(count or 1)))
    return rows


class Bench:
    """Copies of the project in which mutants of one module are tried."""

    def __init__(self, module: str, directory: Path) -> None:
        self._module = module
        # Files that notice much come first.
        self._noticed = Counter(dict.fromkeys(files_of(*TESTS[module]), 0))
        self._trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for worker in range(WORKERS):
            self._trees.put(copy_project(directory / str(worker)))

    def try_out(self, code: str | None) -> str:
        """Return what became of a mutant: "noticed", "survived" or "unclear"."""
        tree = self._trees.get()
        target = tree / source_of(self._module)
        original = target.read_text("utf-8")
        try:
            if code is not None:
                target.write_text(code, "utf-8")
            return self._test(tree)
        finally:
            target.write_text(original, "utf-8")
            self._trees.put(tree)

    def _test(self, tree: Path) -> str:
        slow = SLOW if self._module in ON_UVLOOP else f"{SLOW} or uvloop"
        files = [name for name, _ in self._noticed.most_common()]
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, "-k", f"not ({slow})", *files],
            cwd=tree,
            env=os.environ
            | {"PYTHONPATH": "python", "HYPOTHESIS_PROFILE": "quick"}
            | {"PYTHONDONTWRITEBYTECODE": "1"},  # or a mutant might be taken for another
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=RUN_TIMEOUT)
        except subprocess.TimeoutExpired:
            return "unclear"
        finally:
            with contextlib.suppress(ProcessLookupError):  # of the tests' own processes
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode == 0:
            return "survived"
        for name in re.findall(r"^(?:FAILED|ERROR) (tests/\S+?\.py)", output, re.MULTILINE)[
            :1
        ]:
            self._noticed[name] += 1
        return "noticed"


def copy_project(tree: Path) -> Path:
    for part in ("python", "tests", "spec"):
        shutil.copytree(ROOT / part, tree / part)
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def test_module(module: str, wanted: list[Mutant]) -> list[Mutant]:
    """Return those of the mutants that no test has noticed for certain."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(WORKERS) as pool:
        bench = Bench(module, Path(name))
        if bench.try_out(None) != "survived":
            raise RuntimeError(f"the tests of {module} fail without any change")
        fates = list(pool.map(bench.try_out, [mutant.code for mutant in wanted]))
    print(f"{module}: {dict(Counter(fates))}", flush=True)
    return [mutant for mutant, fate in zip(wanted, fates, strict=True) if fate != "noticed"]


def main() -> int:
    explained = tomllib.loads(SURVIVORS.read_text("utf-8"))
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--since", metavar="COMMIT")
    options = parser.parse_args()
    survivors = stale = 0
    for module in options.modules or TESTS:
        rows = changed_rows(module, options.since) if options.since else None
        wanted = list(mutants(module))
        for explanation in explained.get(module, []):
            if not any(is_about(explanation, mutant) for mutant in wanted):
                stale += 1
                print(f"explained in {module}, but no mutant: {explanation['before']}")
        known = explained["every_module"] + explained.get(module, [])
        wanted = [
            mutant
            for mutant in wanted
            if not any(is_about(explanation, mutant) for explanation in known)
            and (rows is None or not rows.isdisjoint(mutant.rows))
        ]
        for mutant in test_module(module, wanted):
            survivors += 1
            print(f"survivor in {module}:\n{mutant.diff}", flush=True)
    print(f"{survivors} survivors without an explanation, {stale} stale explanations")
    return min(survivors + stale, 1)


if __name__ == "__main__":
    sys.exit(main())
