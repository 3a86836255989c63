"""The Pythons that sessions of ``noxfile.py`` test with: the machine's own, or Maven's.

Maven Central has whole builds of CPython, and Maven's own client fetches them.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
INSTALL_MAVEN = "apt-get install maven"
# CPython 3.12's build does not start subprocesses under Wine.
_BUILDS = {"3.11": "3.11.3-1.5.9", "3.14": "3.14.3-1.5.13"}
_FETCHED = ROOT / ".nox" / "pythons"


class NotAvailableError(Exception):
    """A Python is neither here nor can it be fetched; the text says what to install."""


@functools.cache
def found() -> dict[str, Path]:
    """Return the supported Pythons of this machine, by version."""
    places = {version: _find(version) for version in SUPPORTED}
    return {version: path for version, path in places.items() if path is not None}


def provide(version: str) -> Path:
    """Return a Python of that version, which is fetched if the machine has none."""
    path = Path(at(version))
    if path.exists():
        return path
    if version not in _BUILDS or sys.platform != "linux":
        raise NotAvailableError(f"Python {version} is not here: install it")
    fetch(version, "linux-x86_64")
    path.chmod(0o755)
    return path


def at(version: str) -> str:
    """Return where a Python is, or will be once it was fetched."""
    fetched = folder_of(version, "linux-x86_64") / "bin" / f"python{version}"
    return str(found().get(version) or fetched)


def folder_of(version: str, system: str) -> Path:
    """Return the folder of a CPython for a system, which exists once it was fetched."""
    return _FETCHED / f"{version}-{system}" / "org" / "bytedeco" / "cpython" / system


def fetch(version: str, system: str) -> None:
    """Fetch a CPython for a system, such as ``windows-x86_64``, unless it is here."""
    folder = _FETCHED / f"{version}-{system}"
    if not (folder / "complete").exists():
        with zipfile.ZipFile(_download(version, system)) as jar:
            jar.extractall(folder)
        (folder / "complete").touch()


def _find(version: str) -> Path | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob(f"{version}.*/bin/python"))
    on_path = shutil.which(f"python{version}")
    for path in (sys.executable, on_path, *installed):
        if path is not None and _version_of(path) == version:
            return Path(path)
    return None


def _version_of(program: str | Path) -> str | None:
    """Return the version that a program has; None if it does not run.

    A shim of pyenv is on the path, but does not run unless its version was chosen.
    """
    code = "import sys; print('%d.%d' % sys.version_info[:2], sys.version_info[3])"
    done = subprocess.run(
        [program, "-c", code], capture_output=True, text=True, check=False
    )
    version, _, level = done.stdout.strip().partition(" ")
    return version if done.returncode == 0 and level == "final" else None


def _download(version: str, system: str) -> Path:
    if shutil.which("mvn") is None:
        raise NotAvailableError(
            f"Python {version} for {system} comes from Maven, which is not here:"
            f" {INSTALL_MAVEN}"
        )
    artifact = f"org.bytedeco:cpython:{_BUILDS[version]}:jar:{system}"
    _FETCHED.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}"),
            f"-DoutputDirectory={_FETCHED}",
        ],
        check=True,
    )
    (jar,) = _FETCHED.glob(f"cpython-{_BUILDS[version]}-{system}.jar")
    return jar
