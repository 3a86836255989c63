"""Wine as a Windows machine: what it needs, and how programs run on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_HERE = Path(__file__).parent
_RUN = str(_HERE / "run-wine")
_COMPILER = "x86_64-w64-mingw32-gcc"
_LIBRARIES = ("/usr/lib/wine", "/usr/lib/x86_64-linux-gnu/wine")
_PACKAGES = {"wine64": "wine64", _COMPILER: "gcc-mingw-w64-x86-64", "mvn": "maven"}


def what_is_missing() -> str | None:
    """Say what has to be installed; None if everything is here."""
    missing = [package for tool, package in _PACKAGES.items() if _find(tool) is None]
    if not missing:
        return None
    return (
        f"Windows is NOT TESTED: {', '.join(missing)} not found; as root:"
        f" apt-get install --no-install-recommends {' '.join(missing)}"
    )


def windows_path(path: Path | str) -> str:
    """Return a path of this machine as programs under Wine know it."""
    return "Z:" + str(path).replace("/", "\\")


class Machine:
    """A Windows of its own in ``place``."""

    def __init__(self, place: Path) -> None:
        wine = _find("wine64")
        assert wine is not None, "what_is_missing was asked"
        self._prefix = place / "wine"
        self._wine = wine
        self._variables = {
            "WINE": wine,
            "WINEPREFIX": str(self._prefix),
            "WINEDEBUG": "-all",
            # It offers to download the first two, and what CPython's ``platform`` asks
            # the third for ends the process.
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;wbemprox=",
        }

    def set_up(self) -> None:
        """Make its C: drive, and add the DLL that Go programs need."""
        self.run("wineboot", "--init")
        system = self._prefix / "drive_c" / "windows" / "system32"
        library = system / "bcryptprimitives.dll"
        source = str(_HERE / "bcryptprimitives.c")
        command = (_COMPILER, "-shared", "-O2", "-o", str(library), source, "-ladvapi32")
        subprocess.run(command, check=True)

    def command(
        self, program: Path | str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return a command of Linux that runs a program under Wine."""
        variables = {**self._variables, **(env or {})}
        given = (f"{name}={value}" for name, value in variables.items())
        return ["env", *given, _RUN, str(program), *arguments]

    def run(self, program: Path | str, *arguments: str) -> None:
        """Run a program that ends by itself."""
        done = subprocess.run(
            self.command(program, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise RuntimeError(f"{program} under Wine: {done.stdout!r} {done.stderr!r}")

    @contextlib.contextmanager
    def switched_on(self, idle: Sequence[str]) -> Iterator[None]:
        """Keep Wine's services running: else every program would start them anew.

        They would also keep the standard output of that program open. The command
        ``idle`` prints a line, and ends with its standard input.
        """
        pipe = subprocess.PIPE
        with subprocess.Popen(idle, stdin=pipe, stdout=pipe) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdout.readline()
                yield
            finally:
                process.stdin.close()
                self._end_all()

    def _end_all(self) -> None:
        """End what a test has left running."""
        server = Path(self._wine).with_name("wineserver")
        env = {**os.environ, **self._variables}
        subprocess.run([server, "--kill"], env=env, check=False)


def _find(tool: str) -> str | None:
    places = os.pathsep.join((*_LIBRARIES, os.environ["PATH"]))
    return shutil.which(tool, path=places)
