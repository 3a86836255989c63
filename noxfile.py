"""Every check of the project; ``nox`` runs those for each change, ``nox -l`` lists all.

Nothing needs to be installed but Python and nox. Go and Node are the machine's
own if they are new enough, and otherwise come from PyPI into the session's
environment. No session passes by skipping.
"""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import filterfalse
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tests"))

import pythons  # noqa: E402  # found by the line above
from fast_tests import fast_tests  # noqa: E402
from on_windows.selection import TYPED, WINDOWS_TESTS  # noqa: E402
from toolchains import (  # noqa: E402
    GO_PACKAGE,
    NODE_VERSIONS,
    OLDEST_GO_PACKAGE,
    check_go,
    client_commands,
    helper_options,
    install_js_tools,
    install_node,
    options_of,
    provide_go,
    provide_node,
    provide_python,
    run_in,
    run_npm,
    test_go,
    test_go_from,
    tool_options,
)

nox.needs_version = ">=2024.10.9"
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "fuzz",
    "go",
    "go_oldest",
    "js",
    "js_tests",
    "package",
    "conformance",
    "demo",
    "json_rpc",
    "surroundings",
]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.error_on_external_run = True

# The tests start thousands of processes. Where Python may not keep what it has compiled, as
# in many images of containers, each would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

GROUPS = nox.project.load_toml("pyproject.toml")
PYRIGHT_PROGRAMS = (
    "tests/sync/typed_program.py",
    "tests/typed_requests.py",
    "python/examples/echo_blocking.py",
    "python/examples/digest_blocking.py",
)
WORKERS = 2 * (os.cpu_count() or 1)  # most of a test is waiting
FUZZED = {"decoder": "decoder", "session": "session", "blocking": "session"}
# Requests lie above messages: one transport is enough for their vectors, the third of all cases.
ONCE = tuple(
    f"--skip=requests/vectors/* [[]{transport}]" for transport in ("named_pipe", "tcp")
)
C_PACKAGE = "ziglang==0.17.1"
PAIRS = "--pairs"  # of loop, transport and role, instead of all combinations
QUICK = (
    PAIRS,
    "-k",
    "not debug and not thread and not caller",
    *fast_tests(keeping=("fork", "use")),
)
TESTS = {"PYTHONPATH": str(ROOT / "tests")}  # for programs that lie there
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Install dependency groups, and the project itself unless told otherwise."""
    session.install(*nox.project.dependency_groups(GROUPS, *groups))
    if project:
        session.install("-e", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Check form and common mistakes of the Python code and of the public CI."""
    install(session, "lint", project=False)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run(provide_go(session), "run", ACTIONLINT, external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the Python code strictly (mypy), programs of users with pyright."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright", "--pythonpath", f"{session.bin}/python", *PYRIGHT_PROGRAMS)
    windows = ("--platform", "win32", "--follow-imports", "silent")
    session.run("mypy", *windows, "--cache-dir", ".mypy_cache/windows", *TYPED)


def run_tests(session: nox.Session) -> None:
    """Run the tests of the Python package on one Python; arguments go to pytest."""
    install(session, "test")
    options = ["-n", str(WORKERS), "--dist", "worksteal", "--ignore=tests/conformance"]
    options += session.posargs
    if set(session.posargs) - {PAIRS}:
        session.run("pytest", *options)
        return
    # An exception at any opcode may leave the interpreter itself off balance (CPython
    # 3.11 miscounts its recursion then), so those tests have one of their own.
    interrupts = "tests/aio/test_interrupts.py"
    session.run("pytest", *options, f"--ignore={interrupts}")
    session.run("pytest", *options, "--tb=native", interrupts)


for version in pythons.SUPPORTED:
    at = pythons.at(version)
    nox.session(name=f"tests-{version}", python=at)(run_tests)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests on the oldest Python here, and the fast ones on the newest."""
    oldest, *others = pythons.found()
    session.notify(f"tests-{oldest}", session.posargs or [PAIRS])
    for newest in others[-1:]:
        session.notify(f"tests-{newest}", session.posargs or QUICK)


@nox.session(venv_backend="none")
def tests_all(session: nox.Session) -> None:
    """Run all tests on every supported Python; Maven may have to fetch the newest."""
    for version in pythons.SUPPORTED:
        provide_python(session, version)
        session.notify(f"tests-{version}")


@nox.session
def windows(session: nox.Session) -> None:
    """Test under Wine (--full, --help), or on Windows, where arguments go to pytest."""
    install(session, "windows", "conformance")
    if sys.platform == "win32":
        session.run("pytest", *WINDOWS_TESTS, *session.posargs)
        return
    folder = session.create_tmp()
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".")
    packages = map("--package={}".format, nox.project.dependency_groups(GROUPS, "windows"))
    options = ("--folder", folder, *tool_options(session), *packages, *session.posargs)
    session.run("python", "-m", "on_windows", *options, env=TESTS)


@nox.session
def surroundings(session: nox.Session) -> None:
    """Run the fast tests under nohup, as another user and so on; arguments are names."""
    install(session, "test")
    session.run("python", "-m", "surroundings", *session.posargs, env=TESTS)


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, check both, and use the installed wheel."""
    install(session, "package", project=False)
    session.run("python", "tests/package/check.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoder and sessions (atheris), 15 s each; arguments go to libFuzzer."""
    install(session, "fuzz")
    place = Path(session.create_tmp()).resolve()

    def run(name: str, corpus: str) -> object:
        found = place / name
        found.mkdir(exist_ok=True)
        return session.run(
            "python",
            f"tests/fuzz/fuzz_{name}.py",
            str(found),  # new inputs go here, not into the repository
            f"tests/fuzz/corpus/{corpus}",
            f"-artifact_prefix={place}/",
            "-max_total_time=15",
            "-max_len=400",
            *session.posargs,
            silent=not session.posargs,  # or else the lines of all would be mixed
        )

    with ThreadPoolExecutor() as pool:
        for name, output in zip(
            FUZZED, pool.map(run, FUZZED, FUZZED.values()), strict=True
        ):
            session.log(f"{name}: {output}")


@nox.session
def mutants(session: nox.Session) -> None:
    """Mutate the package (cosmic-ray); arguments are modules. Takes hours for all."""
    install(session, "mutants")
    session.install("./tests/mutation/operators")
    session.run("python", "tests/mutation/run.py", *session.posargs)


@nox.session
def suite_mutants(session: nox.Session) -> None:
    """Mutate the clients; the conformance suite has to notice. Takes half an hour."""
    install(session, "test")
    session.run(
        "python", "tests/conformance/mutate.py", *tool_options(session), *session.posargs
    )


@nox.session
def go(session: nox.Session) -> None:
    """Format, vet (for other systems, too) and test the Go client."""
    tool = provide_go(session)
    check_go(session, tool)
    test_go(session, tool)


@nox.session
def go_oldest(session: nox.Session) -> None:
    """Test the Go client with the oldest Go that it supports."""
    test_go_from(session, OLDEST_GO_PACKAGE)


@nox.session
def go_newest(session: nox.Session) -> None:
    """Test the Go client with the newest Go, from PyPI; "go" takes the machine's."""
    test_go_from(session, GO_PACKAGE)


@nox.session
def js(session: nox.Session) -> None:
    """Format, lint and type-check the Node client."""
    node = provide_node(session)
    install_js_tools(session, node)
    for script in ("lint", "types"):
        run_npm(session, node, "run", script)


@nox.session
@nox.parametrize("version", NODE_VERSIONS, ids=["node20", "node22", "node24"])
def js_tests(session: nox.Session, version: str) -> None:
    """Test the Node client on each supported version of Node."""
    node = install_node(session, version)
    install_js_tools(session, node)
    run_npm(session, node, "test")


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the conformance suite against every client; arguments go to the suite."""
    install(session, "test", project=False)
    session.install(".[conformance]")  # from a wheel, as a stranger has it
    clients = client_commands(session, "./cmd/testee", "testee.js")
    testees = dict(clients)
    for name, module in (("Python", "python_testee"), ("Python-blocking", "sync_testee")):
        testees[name] = ["python", "-m", f"ipc_channel.conformance.{module}"]
    reports = []
    for name, command in testees.items():
        reports.append(str(Path(session.create_tmp()).resolve() / f"{name}.json"))
        options = ["--report", reports[-1], *(session.posargs or ONCE)]
        session.run("ipc-channel", "conformance", *options, "--", *command)
    page = str(Path(session.create_tmp()).resolve() / "conformance.html")
    session.run("ipc-channel", "report", *reports, "--to", page)
    session.log(f"side by side: {page}")
    if not session.posargs:
        for tool in filterfalse(shutil.which, ("cc", "javac", "cargo")):
            session.warn(f"no {tool} here: the skeleton that needs it is NOT TESTED")
        options = [*helper_options(session, "echo"), *options_of("testee", clients)]
        options += tool_options(session)
        # Most of them wait for what a wrong client does not do.
        spread = ("-n", str(2 * WORKERS), "--dist", "worksteal")
        session.run("pytest", *spread, "tests/conformance", *options)


@nox.session
def soak(session: nox.Session) -> None:
    """Kill helpers and services for two minutes; --seconds, --kills, --seed, --help."""
    install(session, "test")
    options = [
        *helper_options(session, "echo"),
        *options_of("testee", client_commands(session, "./cmd/testee", "testee.js")),
        *("--helper", "Python=python python/examples/echo.py"),
        *("--helper", "Python-blocking=python python/examples/echo_blocking.py"),
        *("--testee", "Python=python -m ipc_channel.conformance.python_testee"),
    ]
    session.run("python", "-m", "soak", *options, *session.posargs, env=TESTS)


@nox.session
def soak_pool(session: nox.Session) -> None:
    """Kill helpers of a pool while it has 100,000 calls; --calls, --kills, --seed, --help."""
    install(session, "test")
    commands = client_commands(
        session, "./examples/requests", "examples/digest-requests.js"
    )
    options = options_of("helper", commands)
    session.run("python", "-m", "soak.pool", *options, *session.posargs, env=TESTS)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure every contender in one run (minutes); arguments such as --full, --help."""
    install(session, "bench")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        session.install(C_PACKAGE)
    session.run(
        "python", "-m", "benchmarks", *tool_options(session), *session.posargs, env=TESTS
    )
    if not session.posargs:
        session.run("python", "-m", "benchmarks.requests", env=TESTS)


@nox.session
def bench_requests(session: nox.Session) -> None:
    """Measure calls against bare messages, gRPC and others; --rounds=N, --smoke, --help."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks.requests", *session.posargs, env=TESTS)


@nox.session
def counts(session: nox.Session) -> None:
    """Count instructions and system calls of a message; needs valgrind and strace."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks.counts", *session.posargs, env=TESTS)


@nox.session
def start_cost(session: nox.Session) -> None:
    """Measure what Helper adds to the start of a process; --rounds=N, --help."""
    session.install("-e", ".")
    echo = helper_options(session, "echo")[1].partition("=")[2]
    session.run("python", "-m", "benchmarks.start", *session.posargs, echo, env=TESTS)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job: a Python service and its Go and Node helpers, which are killed too."""
    install(session, "demo")
    options = helper_options(session, "digest")
    session.run("python", "python/examples/digest_service.py", str(ROOT), *options)
    session.run("python", "python/examples/killed_helper.py", *options)
    commands = client_commands(
        session, "./examples/requests", "examples/digest-requests.js"
    )
    pool = [str(ROOT), "--times", "10", *options_of("helper", commands)]
    session.run("python", "python/examples/digest_pool.py", *pool)


@nox.session
def json_rpc(session: nox.Session) -> None:
    """Run the examples that put JSON-RPC 2.0 over a channel, in each language."""
    install(session, "json_rpc")
    folder, program = (
        "tests/interop/json_rpc",
        str(Path(session.create_tmp()).resolve() / "rpc"),
    )
    go, node = provide_go(session), provide_node(session)
    run_in(session, folder, go, "vet", ".")
    run_in(session, folder, go, "build", "-o", program, ".")
    npm = ("install", "--no-package-lock", "--no-audit", "--no-fund")
    run_npm(session, node, *npm, directory=folder)
    for command in (
        ["python", f"{folder}/helper.py"],
        [program],
        [node, f"{folder}/helper.mjs"],
    ):
        printed = session.run("python", f"{folder}/service.py", *command, silent=True)
        if printed is None or printed.split() != ["3", "-32601"]:
            session.error(f"{command} has answered {printed}")
