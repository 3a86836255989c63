"""A Python for Windows, with the package from its wheel and what the tests need."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pythons
from on_windows.machine import Machine, windows_path

ROOT = Path(__file__).parents[2]
_SYSTEM = "windows-x86_64"
_UNUSED = ("test/", "idlelib/", "lib2to3/", "tkinter/", "turtledemo/", "ensurepip/")
_COMPILE = """
import importlib.util, marshal, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as source, zipfile.ZipFile(sys.argv[2], "w") as target:
    for name in source.namelist():
        if name.endswith(".py"):
            code = compile(source.read(name), name, "exec", dont_inherit=True)
            header = importlib.util.MAGIC_NUMBER + bytes(12)
            target.writestr(name + "c", header + marshal.dumps(code))
"""


class Interpreter:
    """Python of a version; what is installed is in ``place``.

    It finds its library and, but for the unit tests, this package in archives of compiled
    modules: to look for some hundred files in folders takes Wine a second each time.
    """

    def __init__(self, version: str, place: Path) -> None:
        self.version = version
        self._home = pythons.folder_of(version, _SYSTEM)
        self._packages = place / f"packages-{version}"
        self._package = place / f"ipc-channel-{version}.zip"
        self._variables = {
            "PYTHONHOME": windows_path(self._home),
            "PYTHONPATH": _joined(self._package, self._packages, ROOT / "tests"),
            "PYTHONPYCACHEPREFIX": windows_path(place / f"compiled-{version}"),
        }

    def command(
        self, machine: Machine, *arguments: str, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return a command of Linux that runs it on a machine."""
        variables = {**self._variables, **(env or {})}
        return machine.command(self._home / "python.exe", *arguments, env=variables)

    def pytest(
        self, machine: Machine, *arguments: str, env: Mapping[str, str]
    ) -> list[str]:
        """Return a command that tests the package as it is installed from its wheel.

        What the tests start takes it from the archive.
        """
        variables = {
            **env,
            "PYTHONPATH": _joined(self._packages, ROOT / "tests"),
            "PYTHONPATH_OF_CHILDREN": self._variables["PYTHONPATH"],
        }
        return self.command(machine, "-m", "pytest", *arguments, env=variables)

    @property
    def program(self) -> str:
        """Its path on Windows."""
        return windows_path(self._home / "python.exe")

    def install(self, *what: str) -> None:
        """Fetch it, and install packages, which must be wheels: pip itself runs on Linux."""
        pythons.fetch(self.version, _SYSTEM)
        target = ("--platform", "win_amd64", "--python-version", self.version)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"),
                *("--disable-pip-version-check", "--implementation", "cp", *target),
                *("--only-binary=:all:", "--target", str(self._packages), *what),
            ],
            check=True,
        )

    def compile(self, wheel: Path, machine: Machine) -> None:
        """Compile the standard library, once, and the wheel of this package."""
        self._compile(wheel, self._package, machine)
        library = self._home / f"python{self.version.replace('.', '')}.zip"
        if library.exists():
            return
        source, compiled = library.with_suffix(".sources"), library.with_suffix(".compiled")
        with zipfile.ZipFile(source, "w") as file:
            for path in (self._home / "lib").rglob("*.py"):
                name = path.relative_to(self._home / "lib").as_posix()
                if not name.startswith((*_UNUSED, "site-packages/")):
                    file.write(path, name)
        self._compile(source, compiled, machine)
        compiled.rename(library)

    def _compile(self, source: Path, target: Path, machine: Machine) -> None:
        done = subprocess.run(
            self.command(machine, "-c", _COMPILE, *map(windows_path, (source, target))),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # a program under Wine takes no file for its output
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            what = done.stdout.decode("utf-8", "replace")
            raise RuntimeError(f"Python {self.version} does not run under Wine: {what}")


def _joined(*places: Path) -> str:
    return ";".join(map(windows_path, places))
