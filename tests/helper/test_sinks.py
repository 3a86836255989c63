"""Functions and files that get a helper's output, and may do odd things with it."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from blocking import eventually
from helper_programs import connected
from ipc_channel import Helper, sync
from raw import PATIENCE

END = "while os.read(r, 1 << 16): pass\n"
LINES = "os.write(2, b''.join(b'%d\\n' % n for n in range(5000)))\n"


async def test_lines_keep_their_order_for_a_function_that_causes_reading() -> None:
    """The result of a helper that has ended reads the rest of its output."""
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        assert helper.result is None or helper.result.status == 0

    code = "os.read(r, 6)\n" + LINES + "os._exit(0)"
    helper = Helper(connected(code), stderr=take, timeout=PATIENCE)
    async with helper as channel:
        await channel.write(b"go")
        eventually(lambda: helper.process.returncode is not None)
    assert lines == [str(n) for n in range(5000)]


def test_a_function_that_exits_ends_no_reading(caplog: Any) -> None:
    """In blocking programs it is called in a thread that reads for all helpers."""
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        if line == "0":
            assert threading.current_thread() is not threading.main_thread()
            sys.exit("enough")

    helper = sync.Helper(connected(LINES + END), stderr=take, timeout=PATIENCE)
    with helper:
        eventually(lambda: len(lines) == 5000)
    assert lines == [str(n) for n in range(5000)]
    (record,) = caplog.records
    assert "failed for a line" in record.message
    assert not [t for t in threading.enumerate() if t.name == "ipc-channel-output"]


async def aside(line: str) -> None:
    raise AssertionError(line)


def closed_file() -> Any:
    with open(__file__, "rb") as file:
        pass
    return file


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: aside, TypeError, "coroutine function"),
        (io.StringIO, ValueError, "no open file of the system"),
        (io.BytesIO, ValueError, "no open file of the system"),
        (closed_file, ValueError, "no open file of the system"),
    ],
)
def test_what_can_take_no_output(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"stdout is .*{text}"):
        Helper(["x"], stdout=make())


def test_a_file_that_is_open_for_reading() -> None:
    with (
        open(__file__, "rb") as file,
        pytest.raises(ValueError, match="not open for writing"),
    ):
        Helper(["x"], stderr=file)


async def test_a_file_that_its_user_closes_still_gets_the_output(tmp_path: Path) -> None:
    """And not another file that has got its number."""
    code = END + "os.write(2, b'late')"
    with open(tmp_path / "errors", "wb") as file:
        helper = Helper(connected(code), stderr=file, timeout=PATIENCE, grace=PATIENCE)
        await helper.start()
        number = file.fileno()
    with open(tmp_path / "other", "wb") as other:
        assert other.fileno() == number
        await helper.stop()
    assert (tmp_path / "errors").read_bytes() == b"late"
    assert (tmp_path / "other").read_bytes() == b""
