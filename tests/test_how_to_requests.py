"""The programs of python/docs/requests.md run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raw import PATIENCE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "python" / "docs" / "requests.md").read_text("utf-8")
PROGRAMS = re.findall(
    r"\bas\s`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL | re.IGNORECASE
)
# What each service prints; all other programs are helpers.
PRINTED = {
    "shop.py": "b'3'\nnot-found there is no price of milk\n",
    "impatient.py": "no answer came within 0.1 s; the request was cancelled\nb'slept'\n",
    "lines.py": "500 are done\n1000 are done\n0 have failed\n",
    "objects.py": "{'mean': 3}\n"
    "the codec cannot encode the request, a set:"
    " TypeError: Object of type set is not JSON serializable\n"
    "failed the codec cannot decode the request of 1 bytes: JSONDecodeError: Expecting"
    " property name enclosed in double quotes: line 1 column 2 (char 1)\n",
    "packed.py": "{'day': datetime.datetime(2024, 2, 29, 0, 0,"
    " tzinfo=datetime.timezone.utc), 'raw': b'\\x00'}\n",
    "settings.py": "b'hello, world'\n",
    "threads.py": "[b'counted to 3', b'counted to 2', b'counted to 1']\n"
    "no answer came within 0.1 s; the request was cancelled\nb'counted to 1'\n",
}


def test_every_program_has_a_name_and_is_run() -> None:
    assert len(PROGRAMS) == len(dict(PROGRAMS)) == PAGE.count("```python")
    text = PAGE.replace("ipc_channel.sync", "")
    for name, program in PROGRAMS:
        is_helper = "run_helper(main)" in program
        assert is_helper != (name in PRINTED), name
        assert text.count(name) >= 1 + is_helper, f"no service starts {name}"


@pytest.mark.parametrize("service", PRINTED)
def test_a_service(service: str, tmp_path: Path) -> None:
    for name, program in PROGRAMS:
        (tmp_path / name).write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", service],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr, done.returncode) == (PRINTED[service], "", 0)


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", PAGE):
        assert (ROOT / "python" / "docs" / target).exists(), target
