"""A short run of the soak itself, and that it notices what it is there to notice."""

from __future__ import annotations

import shlex
import sys
from itertools import islice
from pathlib import Path

import pytest

from soak.__main__ import main
from soak.messages import messages

HELPER = """
import asyncio, sys
from ipc_channel import from_environment, make_ipc_channel_client

async def main():
    channel = make_ipc_channel_client(*from_environment())
    await channel.connect()
    held = b""
    for number in range(10**9):
        message = await channel.read()
        if message is None:
            return
        {fault}
        await channel.write(message)

asyncio.run(main())
"""
FAULTS = {
    "lost": "if number == 5: continue",
    "doubled": "await channel.write(message) if number == 5 else None",
    "merged": "held, message = (message, b'') if number == 5 else (b'', held + message)\n"
    "        if not message: continue",
    "changed": "message = message[:-1] + b'?' if number == 5 else message",
    "another session's": "message = message if number else b'old'",
}


def test_messages_depend_on_the_session_only() -> None:
    first, again, other = (list(islice(messages(one), 500)) for one in "aab")
    assert first == again
    assert first != other
    assert all(map(bool, first))


def test_a_short_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--kills", "8", "--seconds", "60", "--seed", "3"]) == 0
    printed = capfd.readouterr().out
    assert "Python helper over" in printed
    assert "nothing lost, doubled or merged" in printed
    assert "clean" not in printed


def test_a_run_without_a_kill_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0", "--loop", "asyncio"]) == 1
    assert "0 kills" in capfd.readouterr().out


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_helper_is_noticed(
    fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(HELPER.format(fault=FAULTS[fault]))
    assert run_with(program) == 1
    assert "(asyncio): WrongError: message" in capfd.readouterr().out


def test_a_clean_end_is_noticed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "wrong.py"
    fault = "await channel.close(); await asyncio.sleep(3600)"
    program.write_text(HELPER.format(fault=fault))
    assert run_with(program) == 1
    assert "the end after a kill is 'clean'" in capfd.readouterr().out


def run_with(program: Path) -> int:
    helper = shlex.join([sys.executable, str(program)])
    options = ("--seed", "4", "--loop", "asyncio", "--at-a-time", "1", "--kills", "1000")
    return main([*options, "--seconds", "60", "--helper", f"Wrong={helper}"])
