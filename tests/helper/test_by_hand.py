"""A helper that somebody starts by hand: in a debugger, for instance."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from typing import Any

from helper_programs import BEHAVES
from ipc_channel import Helper, HelperError
from ipc_channel.helper.by_hand import instructions
from raw import PATIENCE

TOLD = {"IPC_CHANNEL_IN": "unix:/tmp/a b", "IPC_CHANNEL_OUT": "unix:/tmp/a b"}


async def test_the_printed_command_line_starts_it(capsys: Any) -> None:
    helper = Helper(BEHAVES, attach=True, timeout=0.001)
    entering = asyncio.ensure_future(helper.__aenter__())
    text = ""
    while not text:
        await asyncio.sleep(0)
        text = capsys.readouterr().err
    assert f"IPC_CHANNEL_IN={helper.channel.out_path}" in text
    command = text[text.index("shell:\n") + 7 :].strip()
    process = await asyncio.create_subprocess_shell(command)
    channel = await asyncio.wait_for(entering, PATIENCE)
    assert channel.connected
    assert helper.result is None
    await helper.__aexit__(None, None, None)
    assert await process.wait() == 0


async def test_stop_ends_the_wait(capsys: Any) -> None:
    helper = Helper(BEHAVES, attach=True)
    starting = asyncio.ensure_future(helper.start())
    while not capsys.readouterr().err:
        await asyncio.sleep(0)
    assert await helper.stop() is None
    (failed,) = await asyncio.gather(starting, return_exceptions=True)
    assert isinstance(failed, HelperError)
    assert "was stopped" in str(failed)


def test_words_with_spaces_are_quoted() -> None:
    command = ["/bin/echo", "two words", "$HOME"]
    line = instructions(command, TOLD, None, windows=False).splitlines()[-1]
    assert shlex.split(line)[-3:] == command
    done = subprocess.run(
        line, shell=True, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "two words $HOME\n"
    line = instructions(command, TOLD, None, windows=True).splitlines()[-1]
    assert line.startswith("    $env:IPC_CHANNEL_IN = 'unix:/tmp/a b'; ")
    assert line.endswith('& /bin/echo "two words" $HOME')


def test_the_directory_and_added_variables_are_part_of_the_command_line() -> None:
    line = instructions(["./a"], {"A": "1 2", **TOLD}, "/tmp/x y", windows=False)
    assert line.splitlines()[-1].startswith("    cd '/tmp/x y' && A='1 2' IPC_CHANNEL_IN=")
    line = instructions(["./a"], TOLD, "C:\\x y", windows=True)
    assert line.splitlines()[-1].startswith("    cd 'C:\\x y'; $env:IPC_CHANNEL_IN")


async def test_the_helper_gives_its_directory_and_variables(capsys: Any) -> None:
    helper = Helper(["./a"], attach=True, cwd="/", add_env={"ADDED": "1", "OUT": None})
    starting = asyncio.ensure_future(helper.start())
    text = ""
    while not text:
        await asyncio.sleep(0)
        text = capsys.readouterr().err
    await helper.stop()
    await asyncio.wait({starting})
    assert isinstance(starting.exception(), HelperError)
    assert "    cd / && ADDED=1 IPC_CHANNEL_IN=" in text
