"""The services in the READMEs of the Go and the Node client run as they stand.

Their helpers are played by the Python example: what is checked is what a reader of
these pages copies. The clients' own tests build and run the helpers.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ECHO = ROOT / "python" / "examples" / "echo.py"


def _service(readme: Path) -> str:
    blocks = re.findall(
        r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 1
    block: str = blocks[0]
    return block


@pytest.mark.parametrize(
    ("client", "helper"), [("go-client", "echo"), ("js-client", "node")]
)
def test_the_service_of_the_readme_runs(client: str, helper: str, tmp_path: Path) -> None:
    script = tmp_path / helper
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ECHO}"\n')
    script.chmod(stat.S_IRWXU)
    paths = [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _service(ROOT / client / "README.md")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'hello'\n", "")
