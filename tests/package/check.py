"""Build the package from a copy of the tree, install the wheel, and use it as a stranger does.

``nox -s package`` runs this. It needs ``build`` and ``twine``, and an index for pip.
"""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNWANTED = ("*.egg-info", ".*_cache", ".git", ".hypothesis", ".nox", ".venv", "__pycache__")
IN_SDIST = re.compile(
    r"(python/(ipc_channel|examples)|spec)/.+|python/build_sdist\.py"
    r"|PKG-INFO|pyproject\.toml|[A-Z]+(\.md)?"
)
REPOSITORY = "https://github.com/ipc-channel/ipc-channel/blob/main/"
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXTRA_NEEDED = "pip install 'ipc-channel[conformance]'"


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a command outside the tree and return what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, f"{command} gave {done.returncode}:\n{done.stdout}"
    return done.stdout


def build(where: Path) -> tuple[Path, Path]:
    """Build an sdist, a wheel from that sdist, and a wheel from the tree: the same one."""
    tree, dist, direct = where / "tree", where / "dist", where / "direct"
    ignore = shutil.ignore_patterns(*UNWANTED, "node_modules")
    shutil.copytree(ROOT, tree, ignore=ignore, symlinks=True)
    run(sys.executable, "-m", "build", "--outdir", dist, cwd=tree)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", direct, cwd=tree)
    (sdist,), (wheel,), (other,) = dist.glob("*.gz"), dist.glob("*.whl"), direct.glob("*")
    assert contents(wheel) == contents(other), "the sdist and the tree make other wheels"
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, cwd=where)
    return sdist, wheel


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check_sdist(sdist: Path) -> None:
    """The sdist holds the package and what builds it, nothing of other parts."""
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    foreign = [name for name in names if not IN_SDIST.fullmatch(name)]
    foreign += [name for name in names if "__pycache__" in name]
    assert not foreign, f"the sdist has {foreign}"
    assert {"LICENSE", "README.md", "CHANGELOG.md", "spec/README.md"} <= set(names)


def check_metadata(wheel: Path) -> None:
    """Each link of the page on a package index leads somewhere."""
    files = contents(wheel)
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(files[name])
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Source", "Issues"} <= set(urls), urls
    targets = LINK.findall(str(metadata.get_payload()))
    assert targets, "the long description has no link"
    for target in (*targets, *urls.values()):
        check_link(target)


def check_link(target: str) -> None:
    assert target.startswith(("https://", "#")), f"relative link: {target}"
    path = target.removeprefix(REPOSITORY).partition("#")[0]
    in_repository = target.startswith(REPOSITORY)
    assert not in_repository or (ROOT / path).exists(), f"dead link: {target}"


def check_installed(wheel: Path, where: Path) -> None:
    """Without the repository: help, the example in it, and the command."""
    environment = where / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=where)
    bin_directory = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python, command = bin_directory / "python", bin_directory / "ipc-channel"
    run(python, "-m", "pip", "install", "--no-index", wheel, cwd=where)
    version = wheel.name.split("-")[1]
    told = run(python, "-c", "import ipc_channel; help(ipc_channel)", cwd=where)
    assert "asyncio.run(main())" in told, "help has no example"
    assert f"VERSION\n    {version}\n" in told
    test = (
        "import doctest, ipc_channel as m; print(doctest.testmod(m, raise_on_error=True))"
    )
    assert "attempted=0" not in run(python, "-W", "error", "-c", test, cwd=where)
    find = "import ipc_channel; print(ipc_channel.__path__[0])"
    package = Path(run(python, "-c", find, cwd=where).strip())
    check_cited_pages(package)
    check_skeletons(python, where)
    assert version in run(command, "--version", cwd=where)
    assert "conformance" in run(command, "--help", cwd=where)
    assert EXTRA_NEEDED in run(command, "conformance", cwd=where, status=2)


def check_skeletons(python: Path, where: Path) -> None:
    """Each file of each skeleton is in the package, to the letter."""
    code = (
        "import pathlib; from ipc_channel.conformance.skeleton import *\n"
        "for name in SKELETONS: write_skeleton(name, pathlib.Path('skeletons', name))"
    )
    run(python, "-c", code, cwd=where)
    source = ROOT / "python/ipc_channel/conformance/skeletons"
    assert texts(where / "skeletons") == texts(source)


def texts(directory: Path) -> dict[str, str]:
    """Return what is in the files below a directory, but for what Python compiles."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return {
        str(file.relative_to(directory)): file.read_text("utf-8")
        for file in files
        if file.suffix != ".pyc"
    }


def check_cited_pages(package: Path) -> None:
    """Each page of the specification that the package cites is in the package."""
    text = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    pages = set(re.findall(r"\bspec/[\w/]+\.\w+", text))
    assert pages, "no page is cited"
    missing = [page for page in pages if not (package / page).exists()]
    assert not missing, f"cited and not installed: {missing}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ipc channel package ") as name:
        where = Path(name)
        sdist, wheel = build(where)
        check_sdist(sdist)
        check_metadata(wheel)
        check_installed(wheel, where)
    print(f"{sdist.name} and {wheel.name} are good")


if __name__ == "__main__":
    main()
