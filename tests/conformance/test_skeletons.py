"""``--init``: what it writes is built as it says, and passes what a plain client can.

A language without its toolchain is skipped, and the summary says NOT TESTED.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.running import run
from ipc_channel.conformance.case import CATALOGUE
from ipc_channel.conformance.runner import matches
from ipc_channel.conformance.skeleton import SKELETONS

TOOLS = {
    "python": ("python3",),
    "go": ("go",),
    "node": ("node",),
    "c": ("cc",),
    "java": ("javac", "java"),
    "rust": ("cargo",),
}
# What each skeleton passes over TCP as it is written: all that its TODOs do not name.
PASSES = [
    "connect/server-first",
    "connect/client-first",
    "connect/timeout",
    "connect/after-a-timeout",
    "connect/silent-server",
    "connect/at-once",
    "connect/ends-the-one-before",
    "connect/came-wrote-and-left",
    "connect/tcp/one-connection",
    "control/no-channel",
    "environment/*",
    "ends/close-eof",
    "ends/boundary-eof",
    "ends/header-eof",
    "ends/payload-eof",
    "ends/messages-before-it",
    "ends/nothing-after-close-frame",
    "ends/half/*",
    "flow/write-waits",
    "flow/read-ahead-is-bounded",
    "flow/slow-reader",
    "framing/decode/thousand-frames",
    "framing/decode/length-6553?",
    "framing/decode/payload-looks-like-*",
    "framing/decode/cut-*",
    "framing/receive/split-everywhere",
    "lifecycle/close/twice",
    "lifecycle/close/after-the-peer",
    "lifecycle/close/sends-everything",
    "lifecycle/close/frees-descriptors",
    "lifecycle/close/keeps-the-end/truncated",
    "lifecycle/close/keeps-the-end/too-large",
    "lifecycle/exit/idle",
    "lifecycle/exit/connected",
    "limits/receive/default",
    "limits/receive/unsigned",
    "limits/options/timeout-negative",
    "load/to-testee",
    "load/from-testee",
    "load/echo",
    "rendezvous/empty",
    "rendezvous/port-largest",
    "rendezvous/port-over",
    "rendezvous/port-leading-zero",
    "rendezvous/port-newline",
    "rendezvous/port-not-ascii",
    "rendezvous/port-then-nul",
    "rendezvous/host-port",
    "rendezvous/tcp-differs",
    "rendezvous/mixed-out",
]
STRICT_C = "-std=c11 -Wall -Wextra -Werror -pedantic"
SANITIZERS = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"


@dataclass
class Built:
    """A skeleton that was written and built."""

    language: str
    directory: Path
    tools: Path
    said: str
    """What ``--init`` printed."""

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in its directory, where ``ipc-channel`` is on the path."""
        path = os.pathsep.join([str(self.tools), os.environ["PATH"]])
        # No toolchain is to fetch anything.
        offline = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "CARGO_NET_OFFLINE": "true"}
        return subprocess.run(
            ["sh", "-ec", command],
            cwd=self.directory,
            env=os.environ | offline | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def suite(self, *options: str, testee: str) -> Any:
        """Run the suite; return its report."""
        command = ["ipc-channel", "conformance", "--transport", "tcp", *options]
        done = self.shell(f"{shlex.join(command)} --report report.json -- {testee}")
        file = self.directory / "report.json"
        assert file.exists(), done.stdout + done.stderr
        return json.loads(file.read_text("utf-8"))


def tools_of(language: str, config: pytest.Config, directory: Path) -> Path:
    """Return a directory with the command and the tools of a language, for the path."""
    named = {
        "python3": sys.executable,
        "go": config.getoption("go", "go"),
        "node": config.getoption("node", "node"),
    }
    found = {"ipc-channel": f"{sys.executable} -m ipc_channel.cli"}
    for tool in TOOLS[language]:
        program = shutil.which(named.get(tool, tool))
        if program is None:
            pytest.skip(f"NOT TESTED: no {tool} here, so not the skeleton in {language}")
        found[tool] = program
    for name, program in found.items():
        script = directory / name
        script.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        script.chmod(0o700)
    return directory


def write(language: str, directory: Path, tools: Path) -> Built:
    done = run("conformance", "--init", language, str(directory))
    assert (done.returncode, done.stderr) == (0, "")
    return Built(language, directory, tools, done.stdout)


@pytest.fixture(scope="module", params=SKELETONS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    """Write a skeleton into a directory that is not there yet, and build it."""
    tools = tools_of(request.param, request.config, tmp_path_factory.mktemp("tools"))
    place = tmp_path_factory.mktemp("a place") / "new" / "client"
    made = write(request.param, place, tools)
    done = made.shell(SKELETONS[made.language].build)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return made


@pytest.mark.timeout(300)  # compilers on a busy machine
def test_what_it_says_to_do_next_passes(built: Built) -> None:
    steps = [line.strip() for line in built.said.splitlines() if line.startswith("    ")]
    assert steps[0] == f"cd {shlex.quote(str(built.directory))}"
    end = next(at for at, step in enumerate(steps) if step.startswith("ipc-channel"))
    done = built.shell("\n".join(steps[: end + 1]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " cases: 1 passed in" in done.stdout


@pytest.mark.timeout(300)
def test_a_skeleton_passes_what_a_plain_client_can(built: Built) -> None:
    wanted = [option for pattern in PASSES for option in ("--run", pattern)]
    report = built.suite(*wanted, testee=SKELETONS[built.language].run)
    named = {
        case.id
        for case in CATALOGUE
        if case.transport == "tcp" and matches(case, PASSES) and not case.needs
    }
    assert len(named) >= 60
    failed = {
        one["id"]: (one["what"], one["expected"], one["actual"])
        for one in report["results"]
        if one["status"] != "passed" and one["id"] in named
    }
    assert not failed
    assert named <= {one["id"] for one in report["results"]}


def test_requests_may_carry_more_fields(built: Built) -> None:
    more = r'{"do": "dance", "e": {},  "list": [{"id": 9}, "}\""]}, "text": "\"do\": \\", "of": "do"'
    lines = f'{{"future": {more}, "id": 1, "do": "close"}}\n{{"id":2,"do":"close"}}\n'
    run_it = SKELETONS[built.language].run
    done = built.shell(f"printf %s {shlex.quote(lines)} | {run_it}")
    assert (done.returncode, done.stderr) == (0, "")
    greeting, *answers = map(json.loads, done.stdout.splitlines())
    assert greeting["can"] == ["tcp"]
    assert answers == [{"id": 1}, {"id": 2}]


def test_an_unknown_request_ends_the_testee(built: Built) -> None:
    lines = '{"id": 1, "do": "dance"}\n{"id": 2, "do": "close"}\n'
    run_it = SKELETONS[built.language].run
    done = built.shell(f"printf %s {shlex.quote(lines)} | {run_it}")
    assert done.returncode not in {0, 126, 127}
    assert '"id": 2' not in done.stdout


@pytest.mark.timeout(300)
def test_the_one_in_c_is_clean(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tools_of("c", request.config, tmp_path_factory.mktemp("tools"))
    made = write("c", tmp_path_factory.mktemp("c"), tools)
    done = made.shell(f"cc {STRICT_C} -O2 -o testee testee.c")
    assert (done.returncode, done.stderr) == (0, "")
    empty = "echo 'int main(void) { return 0; }' > empty.c"
    if made.shell(f"{empty}; cc {SANITIZERS} -o empty empty.c && ./empty").returncode != 0:
        pytest.skip("NOT TESTED: the C compiler has no sanitizers that work")
    done = made.shell(f"cc {STRICT_C} {SANITIZERS} -o testee testee.c")
    assert (done.returncode, done.stderr) == (0, "")
    ids = ["connect/timeout", "environment", "ends/payload-eof", "load/echo"]
    ids += [
        "rendezvous/port-not-ascii",
        "rendezvous/port-then-nul",
        "limits/receive/default",
    ]
    report = made.suite(
        *(option for id_ in ids for option in ("--run", id_)), testee="./testee"
    )
    assert {one["id"]: one["stderr"] for one in report["results"] if one["stderr"]} == {}
    needy = {case.id for case in CATALOGUE if case.needs}
    assert {one["status"] for one in report["results"] if one["id"] not in needy} == {
        "passed"
    }
