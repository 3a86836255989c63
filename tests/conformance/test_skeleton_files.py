"""``--init``: the files that it writes, and those that it leaves alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import requirements
from conformance.running import run
from ipc_channel.conformance import skeleton
from ipc_channel.conformance.skeleton import SKELETONS

SOURCES = Path(skeleton.__file__).with_name("skeletons")


def test_every_id_in_a_skeleton_is_one_of_the_specification() -> None:
    known = set(requirements.requirements())
    for file in sources():
        found = set(re.findall(r"\b(?:FRM|RDV|SES|ERR)-[0-9]+\b", file.read_text("utf-8")))
        assert found <= known, file


def test_what_is_in_the_package_is_what_is_written() -> None:
    files = {str(file.relative_to(SOURCES)) for file in sources()}
    assert files == {
        f"{language}/{name}" for language, one in SKELETONS.items() for name in one.files
    }


def sources() -> list[Path]:
    files = (path for path in SOURCES.rglob("*") if path.is_file())
    return [path for path in files if "__pycache__" not in path.parts]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("mine")
    done = run("conformance", "--init", "go", str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path / 'go.mod'} exists and is not overwritten" in done.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_link_to_nothing_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "testee.py").symlink_to(tmp_path / "elsewhere")
    assert run("conformance", "--init", "python", str(tmp_path)).returncode == 2
    assert not (tmp_path / "elsewhere").exists()


def test_the_directory_is_the_current_one_unless_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ipc_channel.cli", "conformance", "--init", "node"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "testee.mjs").exists()
    assert "cd " not in done.stdout


def test_where_the_specification_is_is_told(tmp_path: Path) -> None:
    done = run("conformance", "--init", "c", str(tmp_path))
    (place,) = re.findall(r"^The specification is in (.*)$", done.stdout, re.MULTILINE)
    for page in re.findall(r"^ {4}(\w+\.md) ", done.stdout, re.MULTILINE):
        assert (Path(place) / page).exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["perl"], "no skeleton for 'perl'; there are python, go, node, c, java, rust"),
        (["go", "one", "two"], "--init takes one DIRECTORY, not 2"),
        (["go", "/dev/null/client"], "cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_written_is_told(arguments: list[str], text: str) -> None:
    done = run("conformance", "--init", *arguments)
    assert done.returncode == 2
    assert text in done.stderr
