"""Mutation testing of the package: ``nox -s mutants -- framing sender``.

Each named module (all, if none is named) is changed in one place after the
other, and the tests that cover it must turn red each time. A mutant that
survives has to be explained in survivors.toml, by the line it changes and what
becomes of it, or the run fails.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).parent / "survivors.toml"
TESTS = {
    "framing": ["framing"],
    "rendezvous": ["rendezvous", "named_pipe"],
    "receiver": ["receiver", "close", "streams", "sender"],
    "sender": ["sender", "close"],
    "session": ["close", "use", "receiver", "sender"],
    "stream": ["endpoint", "close", "tcp_socket"],
    "endpoint": ["endpoint", "use", "close"],
    "named_pipe": ["named_pipe", "passers_by", "endpoint"],
    "tcp_stream": ["tcp_socket", "close"],
    "tcp_listener": ["tcp_socket", "peer_user"],
    "tcp_socket": ["tcp_socket", "streams", "endpoint"],
    "peer_user": ["peer_user"],
}
# In annotations, which nobody evaluates, and in sums of flags.
UNINTERESTING = [r"core/ReplaceBinaryOperator_BitOr_.*"]


def run(*command: str, cwd: Path) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


def write_config(module: str, path: Path) -> None:
    tests = " ".join(f"tests/test_{name}.py" for name in TESTS[module])
    command = (
        f"env PYTHONPATH=python HYPOTHESIS_PROFILE=quick {sys.executable} -m pytest -x -q "
        f"-p no:cacheprovider --timeout=20 -k 'not debug and not uvloop and not hundred' {tests}"
    )
    path.write_text(
        f"""
[cosmic-ray]
module-path = "python/ipc_channel/{module}.py"
timeout = 60.0
excluded-modules = []
test-command = {json.dumps(command)}

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = {json.dumps(UNINTERESTING)}
"""
    )


def mutate(module: str) -> list[dict[str, str]]:
    """Return the mutants of ``module`` that its tests do not notice."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        for part in ("python", "tests", "spec"):
            shutil.copytree(ROOT / part, tree / part)
        shutil.copy(ROOT / "pyproject.toml", tree)
        config, session = Path(name) / "config.toml", Path(name) / "session.sqlite"
        write_config(module, config)
        run("cosmic-ray", "init", str(config), str(session), cwd=tree)
        run("cr-filter-operators", str(session), str(config), cwd=tree)
        run("cosmic-ray", "baseline", str(config), cwd=tree)
        run("cosmic-ray", "exec", str(config), str(session), cwd=tree)
        lines = run("cosmic-ray", "dump", str(session), cwd=tree).splitlines()
    results = [json.loads(line) for line in lines]
    tested = [result for result in results if result[1]["worker_outcome"] == "normal"]
    print(f"{module}: {len(tested)} mutants", flush=True)
    return [
        describe(*result) for result in tested if result[1]["test_outcome"] == "survived"
    ]


def describe(work: Any, result: Any) -> dict[str, str]:
    """Return what a mutant changes, in terms that outlive other changes of the file."""
    diff = result["diff"]
    changed = [line for line in diff.splitlines() if re.match(r"[-+](?![-+]{2})", line)]
    before = " ".join(line[1:].strip() for line in changed if line[0] == "-")
    after = " ".join(line[1:].strip() for line in changed if line[0] == "+")
    return {"before": before, "after": after}


def main() -> int:
    with SURVIVORS.open("rb") as file:
        explained = tomllib.load(file)
    unexplained = 0
    for module in sys.argv[1:] or TESTS:
        known = {(item["before"], item["after"]) for item in explained.get(module, [])}
        for mutant in mutate(module):
            if (mutant["before"], mutant["after"]) not in known:
                unexplained += 1
                print(f"survivor in {module}:\n- {mutant['before']}\n+ {mutant['after']}")
    print(f"{unexplained} survivors without an explanation")
    return min(unexplained, 1)


if __name__ == "__main__":
    sys.exit(main())
