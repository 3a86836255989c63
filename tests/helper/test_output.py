"""What becomes of a helper's standard output and standard error."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helper_programs import connected
from ipc_channel import Helper, HelperError
from raw import PATIENCE

END = "while os.read(r, 1 << 16): pass\n"


def program(code: str) -> list[str]:
    """Return a helper that runs ``code``, and then waits for its channel to end."""
    return connected(code + "\n" + END)


async def lines_of(code: str, **options: Any) -> tuple[list[str], Helper]:
    """Run a helper whose standard error goes to a function; return its lines."""
    lines: list[str] = []
    helper = Helper(program(code), stderr=lines.append, timeout=PATIENCE, **options)
    async with helper:
        pass
    return lines, helper


async def test_every_line_is_handed_over_by_the_end_of_the_block() -> None:
    code = "for n in range(5000): os.write(2, b'line %d\\n' % n)"
    lines, helper = await lines_of(code)
    assert lines == [f"line {n}" for n in range(5000)]
    assert helper.result is not None
    assert helper.result.last_lines == tuple(lines[-100:])


async def test_lines_of_any_bytes_and_any_length() -> None:
    code = (
        r"os.write(2, b'\xff\xfe\r\n\n'); os.write(2, b'x' * 70000 + b'\n');"
        r"os.write(2, b'\xc3\xa9'); os.write(2, b'no end')"
    )
    lines, helper = await lines_of(code)
    assert lines == [r"\xff\xfe", "", "x" * 65536, "x" * (70000 - 65536), "éno end"]
    assert helper.result is not None
    assert all(len(line) < 2100 for line in helper.result.last_lines)


async def test_a_flood_takes_no_memory_and_stops_nothing() -> None:
    code = "for n in range(400): os.write(2, b'y' * 65536)"
    longest = 0

    def take(line: str) -> None:
        nonlocal longest
        longest = max(longest, len(line))

    async with Helper(
        program(code), stderr=take, timeout=PATIENCE, grace=PATIENCE
    ) as channel:
        await channel.disconnect()
    assert longest == 65536


async def test_a_function_that_raises_ends_nothing(caplog: Any) -> None:
    seen: list[str] = []

    def take(line: str) -> None:
        seen.append(line)
        raise KeyError(line)

    code = "os.write(2, b'one\\ntwo\\n')"
    async with Helper(program(code), stderr=take, timeout=PATIENCE):
        pass
    assert seen == ["one", "two"]
    (record,) = caplog.records
    assert record.name == "ipc_channel.helper"
    assert "further failures are not logged" in record.message


async def test_lines_are_logged_with_the_pid_and_keep_their_level(caplog: Any) -> None:
    said = [
        "plain",
        '{"level": "WARN", "msg": "go"}',
        '{"level": 50, "msg": "pino"}',
        "{odd",
    ]
    code = f"os.write(2, {chr(10).join(said).encode()!r})"
    caplog.set_level(logging.DEBUG, "ipc_channel.helper")
    helper = Helper(program(code), name="worker", stderr="log", timeout=PATIENCE)
    async with helper:
        pid = helper.process.pid
    logged = [r for r in caplog.records if r.name == "ipc_channel.helper.worker"]
    assert [r.getMessage() for r in logged] == [f"[{pid}] {line}" for line in said]
    levels = [r.levelno for r in logged]
    assert levels == [logging.INFO, logging.WARNING, logging.ERROR, logging.INFO]


async def test_a_logger_of_the_application(caplog: Any) -> None:
    code = "os.write(1, b'to standard output\\n')"
    logger = logging.getLogger("application")
    caplog.set_level(logging.INFO, "application")
    async with Helper(program(code), stdout=logger, timeout=PATIENCE):
        pass
    (record,) = caplog.records
    assert record.getMessage().endswith("to standard output")


async def test_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "errors"
    path.write_text("before\n")
    for _ in range(2):
        code = "os.write(2, b'x' * 300000 + b'\\n')"
        async with Helper(program(code), stderr=path, timeout=PATIENCE, grace=PATIENCE):
            pass
    assert path.read_text() == "before\n" + ("x" * 300000 + "\n") * 2
    with open(tmp_path / "opened", "wb") as file:
        helper = Helper(program("os.write(1, b'out')"), stdout=file, timeout=PATIENCE)
        async with helper:
            pass
        assert not file.closed
    assert (tmp_path / "opened").read_bytes() == b"out"


async def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "none" / "errors"
    helper = Helper(program(""), stderr=path, timeout=PATIENCE)
    with pytest.raises(HelperError, match=r"cannot start helper .*none.{1,2}errors"):
        await helper.start()
    await helper.stop()


SERVICE = """
import asyncio, sys
from ipc_channel import Helper, HelperError
async def main():
    async with Helper(sys.argv[2:], stderr=sys.argv[1]) as channel:
        await channel.write(b"go")
        await channel.read()
asyncio.run(main())
"""
GO = "os.read(r, 6)\n"
"""Code that waits for it: Windows cannot say whose a socket is once a program has ended."""


@pytest.mark.parametrize(
    ("option", "seen"),
    [
        ("forward", b"a line\nand no end"),
        ("inherit", b"a line\nand no end"),
        ("discard", b""),
    ],
)
def test_our_standard_error_gets_it_as_it_is(option: str, seen: bytes) -> None:
    command = program(GO + "os.write(2, b'a line\\nand no end'); os._exit(0)")
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, option, *command],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == seen


def test_nothing_is_forwarded_into_a_file_in_the_place_of_ours(tmp_path: Path) -> None:
    """Descriptor 2 may be closed in a service, and be another file's later."""
    code = SERVICE.replace(
        "asyncio.run",
        f"import os; os.close(2); os.open({str(tmp_path / 'data')!r}, os.O_RDWR | os.O_CREAT)\nasyncio.run",
    )
    command = program(GO + "os.write(2, b'into a file?'); os._exit(0)")
    subprocess.run(
        [sys.executable, "-c", code, "forward", *command], timeout=PATIENCE, check=True
    )
    assert (tmp_path / "data").read_bytes() == b""


SILENT = """
import asyncio, sys
from ipc_channel import Helper
async def main():
    async with Helper(sys.argv[1:], stderr="inherit") as channel:
        assert await channel.read() == b"ok"
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no numbers for streams")
def test_what_a_helper_prints_does_not_reach_its_channel_if_ours_is_closed() -> None:
    """Its connection would get the number of the stream that is missing."""
    code = r"os.write(1, b'x'); os.write(2, b'x'); os.write(w, b'\0\0\0\2ok')"
    close = ["/bin/sh", "-c", 'exec "$@" 1>&- 2>&-', "sh"]
    command = [*close, sys.executable, "-c", SILENT, *program(code)]
    subprocess.run(command, timeout=PATIENCE, check=True)


def read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := os.read(fd, size - len(data))):
        data += piece
    return data


async def test_a_place_without_room_does_not_block_the_service() -> None:
    """Only the helper waits for whoever reads our standard error."""
    reading, writing = os.pipe()
    filled = os.write(writing, b"x" * 65536)
    code = (
        r"os.write(w, b'\0\0\0\1a'); os.write(2, b'y' * 300000); os.write(w, b'\0\0\0\1b')"
    )
    with open(writing, "wb") as full, open(reading, "rb"):
        helper = Helper(program(code), stderr=full, timeout=PATIENCE, grace=PATIENCE)
        async with helper as channel:
            assert await channel.read() == b"a"
            run = asyncio.get_running_loop().run_in_executor
            data = await run(None, read_exactly, reading, filled + 300000)
            assert data == b"x" * filled + b"y" * 300000
            assert await channel.read() == b"b"


@pytest.mark.parametrize(
    ("option", "error"),
    [("/var/log/x", ValueError), (7, TypeError), (None, TypeError), ("", ValueError)],
)
def test_what_is_no_place_for_output(option: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="stderr is "):
        Helper(["x"], stderr=option)
