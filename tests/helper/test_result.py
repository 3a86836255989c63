"""What came of a helper, and whether leaving its block tells of a failure."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

import pytest

from helper_programs import IGNORES, connected, program
from ipc_channel import Helper, HelperError
from ipc_channel.helper.result import KILLED, HelperResult
from raw import PATIENCE

CLOSE = r"os.write(w, b'\0\0\0\0');"
WAIT = "while os.read(r, 1 << 16): pass\n"
MET = "os.read(r, 6);"
"""Waits for ``go``: Windows cannot say whose a socket is once a program has ended."""
CRASH = f"{MET} {CLOSE} raise SystemExit('broken: no more beans')"
"""Ends its session as one whose block is left by an exception does."""


async def test_a_crash_that_closed_its_channel_is_not_taken_for_done() -> None:
    helper = Helper(connected(CRASH), timeout=PATIENCE)
    with pytest.raises(
        HelperError, match=r"status 1 after .*its last lines:\n .*no more beans"
    ) as e:
        async with helper as channel:
            await channel.write(b"go")
            assert await channel.read() is None
            assert channel.end_reason == "clean"
    result = helper.result
    assert e.value.result == result
    assert result is not None
    assert (result.status, result.signal, result.failed) == (1, None, True)
    assert result.last_lines == ("broken: no more beans",)
    assert 0 < result.duration < PATIENCE
    assert result.pid == helper.process.pid
    assert result.command == tuple(helper.command)


async def test_it_is_taken_for_done_if_the_caller_says_so() -> None:
    async with Helper(connected(CRASH), timeout=PATIENCE, check=False) as channel:
        await channel.write(b"go")
        assert await channel.read() is None


async def test_an_error_of_the_block_gets_a_note() -> None:
    with pytest.raises(KeyError) as e:
        async with Helper(connected(CRASH), timeout=PATIENCE) as channel:
            await channel.write(b"go")
            await channel.read()
            raise KeyError
    (note,) = e.value.__notes__
    assert "no more beans" in note


async def test_death_by_a_signal() -> None:
    code = f"{CLOSE} os.kill(os.getpid(), 11)"
    helper = Helper(connected(code), timeout=PATIENCE)
    with pytest.raises(HelperError, match="was killed by SIGSEGV after"):
        async with helper as channel:
            await channel.read()
    assert helper.result is not None
    assert helper.result.signal == "SIGSEGV"


async def test_a_failure_after_the_close_of_the_channel() -> None:
    helper = Helper(connected(WAIT + "raise SystemExit(4)"), timeout=PATIENCE)
    with pytest.raises(HelperError, match="ended with status 4"):
        async with helper:
            pass


@pytest.mark.parametrize(
    ("status", "crashed"),
    [
        *((one, False) for one in (0, 3, 255, 259, 0x80000003, 2**32 - 1, KILLED)),
        *((one, True) for one in (-11, -1)),
        *((one, True) for one in (0xC0000000, 0xC0000005, 0xC000013A, 0xE06D7363)),
    ],
)
def test_what_is_a_crash(status: int, crashed: bool) -> None:
    """On Windows, what ended with an exception, of a program too, and not with -1."""
    for requested in (False, True):
        result = HelperResult(("x",), 1, status, 0.0, "ended", requested=requested)
        assert result.crashed is (crashed and not requested)


@pytest.mark.parametrize("how", ["stop", "user"])
async def test_an_end_that_this_service_wanted_is_no_failure(how: str) -> None:
    helper = Helper(connected("import time\ntime.sleep(1000)"), timeout=PATIENCE, grace=0)
    async with helper:
        assert helper.result is None
        if how == "user":
            helper.process.kill()
            await helper.process.wait()
    assert helper.result is not None
    assert helper.result.status != 0
    assert sys.platform == "win32" or helper.result.signal in ("SIGTERM", "SIGKILL")
    assert helper.result.requested
    assert not helper.result.failed


HEED = """
import _signal
def heed(number, _):
    os.write(w, b'\\0\\0\\0\\2up')
_signal.signal(_signal.SIGHUP, heed)
os.write(w, b'\\0\\0\\0\\2up')
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
async def test_a_failure_counts_although_it_got_a_signal_that_does_not_end_it() -> None:
    """Many programs take SIGHUP as "read your configuration again"."""
    helper = Helper(connected(f"{HEED}{WAIT}raise SystemExit(5)"), timeout=PATIENCE)
    with pytest.raises(HelperError, match="ended with status 5"):
        async with helper as channel:
            assert await channel.read() == b"up"
            helper.process.send_signal(0)
            helper.process.send_signal(signal.SIGHUP)
            assert await channel.read() == b"up"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("end", ["signal", "status"])
async def test_a_signal_that_ended_it_was_wanted(end: str) -> None:
    """As such, or as the status that a shell reports."""
    heed = "signal" if end == "signal" else HEED.replace("os.write", "os._exit(129)#", 1)
    code = "os.write(w, b'\\0\\0\\0\\2up')\n" if heed == "signal" else heed
    helper = Helper(connected(f"{code}import time; time.sleep(1000)"), timeout=PATIENCE)
    async with helper as channel:
        assert await channel.read() == b"up"
        helper.process.send_signal(signal.SIGHUP)
        await helper.process.wait()
    assert helper.result is not None
    assert helper.result.status == (-1 if end == "signal" else 129)
    assert helper.result.requested


async def test_there_is_no_result_before_the_first_start() -> None:
    helper = Helper(connected(""), timeout=PATIENCE)
    assert helper.result is None
    await helper.stop()
    assert helper.result is None


async def test_each_start_has_its_own_result() -> None:
    helper = Helper(
        connected(f"{MET} os.write(2, b'x'); {CLOSE} raise SystemExit(5)"), timeout=PATIENCE
    )
    for _ in range(2):
        channel = await helper.start()
        await channel.write(b"go")
        assert await channel.read() is None
        assert await helper.process.wait() == 5
        assert helper.result is not None
        assert helper.result.last_lines == ("x",)
    await helper.stop()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; sys.exit('no licence')",
            "status 1 before it connected; its last lines:\n    no licence",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "killed by SIGKILL before it connected; it wrote nothing",
        ),
        ("import os; os.write(2, b'waiting\\n'); os.read(0, 1); os._exit(3)", "status 3"),
    ],
)
async def test_the_last_lines_of_one_that_did_not_connect(code: str, said: str) -> None:
    helper = Helper(program(code), timeout=PATIENCE)
    with pytest.raises(HelperError) as e:
        await helper.start()
    assert said in str(e.value)
    assert e.value.result == helper.result
    await helper.stop()


async def test_the_last_lines_of_one_that_hangs() -> None:
    code = "import os, time; os.write(2, b'looking for beans\\n'); time.sleep(1000)"
    helper = Helper(program(code), timeout=1, grace=0)
    with pytest.raises(
        HelperError, match=r"did not connect in 1 s.*\n    looking for beans"
    ):
        await helper.start()
    await helper.stop()


async def test_words_for_a_result() -> None:
    helper = Helper([sys.executable, "-S", "-c", "import os; os.abort()"], timeout=PATIENCE)
    with pytest.raises(HelperError):
        await helper.start()
    result: Any = helper.result
    assert result.status == -signal.SIGABRT
    assert str(result).startswith("was killed by SIGABRT after ")
    await helper.stop()


async def test_a_helper_that_has_to_be_killed_is_logged(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "ipc_channel.helper")
    helper = Helper(IGNORES, timeout=PATIENCE, grace=0.01, name="deaf-one")
    async with helper as channel:
        assert await channel.read() == b"deaf"
    said = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert [level for level, _ in said] == ["INFO", "WARNING"]
    assert (
        "did not exit within 0.01 s of the end of its channel: it gets SIGTERM"
        in said[0][1]
    )
    assert "did not exit within 0.01 s of SIGTERM: it gets SIGKILL" in said[1][1]
    assert str(helper).startswith("deaf-one (")


async def test_start_and_end_are_in_the_log(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "ipc_channel.helper")
    helper = Helper(connected(WAIT), timeout=PATIENCE, name="one")
    async with helper:
        pass
    connected_, ended = (record.getMessage() for record in caplog.records)
    assert connected_.endswith(f"(pid {helper.process.pid}) has connected")
    assert ended.endswith(f"(pid {helper.process.pid}) ended with status 0")
