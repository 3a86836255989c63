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
_UNUSED = ("test/", "idlelib/", "lib2to3/", "tkinter/", "turtledemo/", "ensurepip/")
_COMPILE = """
import importlib.util, marshal, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as source, zipfile.ZipFile(sys.argv[2], "w") as target:
    for name in source.namelist():
        code = marshal.dumps(compile(source.read(name), name, "exec", dont_inherit=True))
        target.writestr(name + "c", importlib.util.MAGIC_NUMBER + bytes(12) + code)
"""


class Interpreter:
    """Python of a version on a machine; its packages are in ``place``."""

    def __init__(self, version: str, machine: Machine, place: Path) -> None:
        self.version = version
        self._machine = machine
        self._home = pythons.fetch(version, "windows-x86_64")
        self.packages = place / f"packages-{version}"
        paths = map(windows_path, (self.packages, ROOT / "tests"))
        self._variables = {
            "PYTHONHOME": windows_path(self._home),
            "PYTHONPATH": ";".join(paths),
            "PYTHONPYCACHEPREFIX": windows_path(place / f"compiled-{version}"),
        }

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Return a command of Linux that runs it."""
        variables = {**self._variables, **(env or {})}
        return self._machine.command(self._home / "python.exe", *arguments, env=variables)

    @property
    def program(self) -> str:
        """Its path on Windows."""
        return windows_path(self._home / "python.exe")

    def install(self, *what: str) -> None:
        """Install packages, which must be wheels: pip itself runs on Linux."""
        target = ("--platform", "win_amd64", "--python-version", self.version)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"),
                *("--disable-pip-version-check", "--implementation", "cp", *target),
                *("--only-binary=:all:", "--target", str(self.packages), *what),
            ],
            check=True,
        )

    def compile_library(self) -> None:
        """Put the standard library, compiled, where Python looks for it first.

        To find some hundred files in its folders takes Wine most of a second.
        """
        archive = self._home / f"python{self.version.replace('.', '')}.zip"
        if archive.exists():
            return
        library, source = self._home / "lib", archive.with_suffix(".sources")
        with zipfile.ZipFile(source, "w") as file:
            for path in library.rglob("*.py"):
                name = path.relative_to(library).as_posix()
                if not name.startswith((*_UNUSED, "site-packages/")):
                    file.write(path, name)
        compiled = archive.with_suffix(".compiled")
        places = map(windows_path, (source, compiled))
        done = subprocess.run(
            self.command("-c", _COMPILE, *places),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # a program under Wine takes no file for its output
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            what = done.stdout.decode("utf-8", "replace")
            raise RuntimeError(f"Python {self.version} does not run under Wine: {what}")
        compiled.rename(archive)
