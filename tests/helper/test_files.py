"""Files, terminals and pipes that get a helper's output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from descriptors import no_descriptor_left, open_descriptors
from helper_programs import connected, program
from ipc_channel import Helper, HelperError
from ipc_channel.helper.files import File, file_sink, path_sink
from ipc_channel.helper.output import Outputs
from raw import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has other files")

END = "while os.read(r, 1 << 16): pass\n"


def test_a_terminal_without_room_does_not_block_the_service() -> None:
    """It tells of room for as long as there is any, even if there is too little."""
    import pty  # noqa: PLC0415  # Windows has none

    master, terminal = pty.openpty()
    code = (
        "import sys\nfrom ipc_channel.helper.files import file_sink\n"
        "rest = file_sink(2).write(b'x' * 10**6)\nsys.stdout.write(str(0 < len(rest) < 10**6))"
    )
    try:
        done = subprocess.run(
            # Development mode would warn of the sink that is not closed, on the full terminal.
            [sys.executable, "-W", "ignore", "-c", code],
            stderr=terminal,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            check=True,
        )
    finally:
        os.close(terminal)
        os.close(master)
    assert done.stdout == b"True"


async def test_a_named_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    helper = Helper(program(""), stderr=tmp_path / "pipe", timeout=PATIENCE)
    with pytest.raises(HelperError, match="cannot start helper"):
        await helper.start()
    await helper.stop()


SERVICE = """
import asyncio, os, sys
from ipc_channel import Helper
async def main():
    helper = Helper(sys.argv[2:], grace=60)
    channel = await helper.start()
    assert await channel.read() == b"first"
    new = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    os.dup2(new, 2)
    await helper.stop()
asyncio.run(main())
"""


def test_a_standard_error_that_is_replaced_later_gets_what_follows(tmp_path: Path) -> None:
    """As a daemon does it that has started a helper before."""
    code = f"os.write(2, b'before'); os.write(w, b'\\0\\0\\0\\5first')\n{END}os.write(2, b'after')"
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, str(tmp_path / "log"), *connected(code)],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == b"before"
    assert (tmp_path / "log").read_bytes() == b"after"


def test_a_file_is_closed_again_if_no_pipe_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "errors"
    outputs = Outputs("name", stdout="inherit", stderr=path, in_thread=False)
    before = open_descriptors()
    with no_descriptor_left(but=2), pytest.raises(OSError, match="open files"):
        outputs.open()
    assert path.exists()
    assert open_descriptors() == before


def test_a_forked_child_closes_the_files_of_helpers(tmp_path: Path) -> None:
    with open(tmp_path / "opened", "wb") as opened:
        before = open_descriptors()
        sinks = [path_sink(tmp_path / "errors"), file_sink(opened.fileno())]
        assert len(open_descriptors() - before) == 2
        pid = os.fork()
        if pid == 0:
            os._exit(sum(str(tmp_path) in text for text in open_descriptors()))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1  # what the test opened
        for sink in sinks:
            sink.close()
        assert open_descriptors() == before


HOLDS = """
import os
from ipc_channel.helper.files import file_sink
def same():
    for number in range(64):
        try: yield os.path.samestat(os.fstat(number), os.fstat(2))
        except OSError: pass
sink = file_sink(2)
assert sink.write(b"x") == b""
os.write(1, b"%d" % sum(same()))
"""


def test_our_standard_error_is_not_held_open() -> None:
    """Whoever reads what the service writes waits for the last descriptor of it."""
    command = [sys.executable, "-c", HOLDS]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    assert (done.stdout, done.stderr) == (b"1", b"x")


def test_what_a_closed_file_gets_is_dropped(tmp_path: Path) -> None:
    sink = path_sink(tmp_path / "errors")
    assert isinstance(sink, File)
    sink.close()
    assert sink.write(b"x") == b""
