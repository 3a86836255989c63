"""Wine as a Windows machine: what it needs, and how programs run on it.

``python -m on_windows.machine`` prints the packages that have to be installed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_HERE = Path(__file__).parent
_RUN = str(_HERE / "run-wine")
_COMPILER = "x86_64-w64-mingw32-gcc"
_LIBRARIES = ("/usr/lib/wine", "/usr/lib/x86_64-linux-gnu/wine")
_IDLE = ("cmd.exe", "/c", "echo ready& pause")  # until its standard input ends
_PACKAGES = {"wine64": "wine64", _COMPILER: "gcc-mingw-w64-x86-64", "mvn": "maven"}


def missing_packages() -> list[str]:
    """Return the packages of Debian that have to be installed."""
    return [package for tool, package in _PACKAGES.items() if _find(tool) is None]


def what_is_missing() -> str | None:
    """Say what has to be installed; None if everything is here."""
    missing = missing_packages()
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
    """A Windows of its own in ``place``, which a :class:`Job` can have for itself.

    So one job finds nothing that another has left, and does not wait for the other's
    calls: Wine answers the calls of a machine one after the other.
    """

    def __init__(self, place: Path, original: Machine | None = None) -> None:
        wine = _find("wine64")
        assert wine is not None, "what_is_missing was asked"
        self._prefix = place
        self._original = original
        self._wine = wine
        self._variables = {
            "WINE": wine,
            "WINEPREFIX": str(place),
            "WINEDEBUG": "-all",
            # It offers to download the first two, and what CPython's ``platform`` asks
            # the third for ends the process.
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;wbemprox=",
        }

    def set_up(self) -> None:
        """Make its C: drive, and add the DLL that Go programs need."""
        self.run("wineboot", "--init")
        library = self._prefix / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll"
        source = str(_HERE / "bcryptprimitives.c")
        command = (_COMPILER, "-shared", "-O2", "-o", str(library), source, "-ladvapi32")
        subprocess.run(command, check=True)

    def another(self, name: str) -> Machine:
        """Return a machine that becomes a copy of this one when it is switched on."""
        return Machine(self._prefix.with_name(name), self)

    def command(
        self, program: Path | str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return a command of Linux that runs a program under Wine."""
        variables = {**self._variables, **(env or {})}
        given = (f"{name}={value}" for name, value in variables.items())
        return [*_steadily(), "env", *given, _RUN, str(program), *arguments]

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
    def switched_on(self) -> Iterator[None]:
        """Keep Wine's services running: else every program would start them anew.

        They would also keep the standard output of that program open.
        """
        if self._original is not None:
            shutil.copytree(
                self._original._prefix,
                self._prefix,
                symlinks=True,
                copy_function=_copy,
            )
        pipe = subprocess.PIPE
        with subprocess.Popen(self.command(*_IDLE), stdin=pipe, stdout=pipe) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdout.readline()
                yield
            finally:
                process.stdin.close()
                self.end_all()

    def end_all(self) -> None:
        """End what runs on it, such as what a test has left running."""
        server = Path(self._wine).with_name("wineserver")
        env = {**os.environ, **self._variables}
        subprocess.run([server, "--kill"], env=env, check=False)


@functools.cache
def _steadily() -> tuple[str, ...]:
    """Return a command that has the kernel not choose addresses at random.

    Wine's loader is a program at the fixed address 0x7d000000, and the kernel puts its heap
    somewhere within the next GiB. One start in 8,000 has it at 0x7ffe0000, where Windows
    programs expect what they share with the system: Wine ends with status 1 then, and
    without a word, as WINEDEBUG says (virtual_alloc_first_teb: STATUS_CONFLICTING_ADDRESSES).
    """
    command = ("setarch", "--addr-no-randomize")
    try:
        subprocess.run((*command, "true"), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):  # some containers forbid it
        print("addresses stay random, so Wine may lose one start in 8,000", flush=True)
        return ()
    return command


def _copy(source: str, target: str) -> None:
    """Copy what Wine writes into, and have everything else in both places."""
    if source.endswith(".reg"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _find(tool: str) -> str | None:
    places = os.pathsep.join((*_LIBRARIES, os.environ["PATH"]))
    return shutil.which(tool, path=places)


if __name__ == "__main__":
    print(*missing_packages())
