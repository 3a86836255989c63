"""A short run of the soak of a pool, and that it notices what it is there to notice."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from soak.pool import main

WRONG = """
import hashlib
from ipc_channel import run_helper, serve

count = 0

def digest(payload):
    global count
    count += 1
    payload = payload[:-1] if count == 20 else payload
    return hashlib.sha256(payload).hexdigest().encode()

async def main(channel):
    await serve(channel, digest)

run_helper(main)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_short_run(loop: str, capfd: pytest.CaptureFixture[str]) -> None:
    options = ("--calls", "3000", "--kills", "3", "--seed", "3", "--loop", loop)
    assert main(options) == 0
    printed = capfd.readouterr().out
    assert "3  event lost" in printed
    assert "each call has had its own end" in printed


def test_a_wrong_helper_is_noticed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    helper = f"Wrong={shlex.join([sys.executable, str(program)])}"
    assert main(["--calls", "3000", "--kills", "1", "--seed", "3", "--helper", helper]) == 1
    assert "got another answer" in capfd.readouterr().out
