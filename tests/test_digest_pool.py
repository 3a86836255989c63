"""The demo of a pool: each digest is checked, though a helper is killed at work."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from raw import PATIENCE

EXAMPLES = Path(__file__).parents[1] / "python" / "examples"
HELPER = EXAMPLES / "digest_requests.py"
FILES = 300


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory of files, the first of which is empty, and of some that do not count."""
    for number in range(FILES):
        (tmp_path / f"{number}.txt").write_bytes(b"%d" % number * number)
    for unwanted in (".git", "node_modules"):
        (tmp_path / unwanted).mkdir()
        (tmp_path / unwanted / "unwanted").touch()
    return tmp_path


def digest(files: Path, helper: Path) -> subprocess.CompletedProcess[str]:
    option = shlex.join([f"Python={sys.executable}", str(helper)])
    return subprocess.run(
        [sys.executable, EXAMPLES / "digest_pool.py", files, "--helper", option],
        check=False,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_every_digest_comes_though_a_helper_is_killed(files: Path) -> None:
    done = digest(files, HELPER)
    assert f"{FILES} of {FILES} digests are right" in done.stdout, done.stderr
    assert "Python over tcp" in done.stdout
    assert "was killed by SIGKILL" in done.stderr
    assert done.returncode == 0


def test_a_wrong_digest_fails_the_demo(files: Path) -> None:
    wrong = files.parent / "wrong.py"
    lies = HELPER.read_text().replace("sha256(payload)", "sha256(payload or b'x')")
    wrong.write_text(lies)
    done = digest(files, wrong)
    assert f"{FILES - 1} of {FILES} digests are right" in done.stdout, done.stderr
    assert done.returncode == 1


def test_a_missing_digest_fails_the_demo(files: Path) -> None:
    fails = files.parent / "fails.py"
    missing = 'if not payload:\n        raise ValueError("nothing")\n    return hashlib.'
    fails.write_text(HELPER.read_text().replace("return hashlib.", missing))
    done = digest(files, fails)
    assert "RequestError" in done.stderr
    assert done.returncode == 1
