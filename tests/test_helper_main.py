"""``run_helper`` of both kinds: exit statuses, signals, failures of ``main``."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from pathlib import Path

import pytest

import main_programs
from main_programs import LARGE, Started, python, started
from raw import CLOSE, PATIENCE, frame

KINDS = ["asyncio", "uvloop", "blocking"]
ECHO = "async for message in channel:\n    await channel.write(message)"
TELLS = f"print('begun', flush=True)\n{ECHO}"

WAIT = dict.fromkeys(KINDS, "await asyncio.sleep(0)") | {
    "blocking": "while channel.read() is not None: pass"
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of helper."""
    return str(request.param)


def catching(error: str) -> str:
    return f"try:\n    await channel.read()\nexcept {error}:\n    pass"


@pytest.mark.parametrize(
    ("body", "wire", "status", "line"),
    [
        (ECHO, CLOSE, 0, ""),
        (ECHO, b"", 0, ""),
        (
            ECHO,
            b"\0\0",
            1,
            "python: truncated: stream ended after 2 of the 4 header bytes\n",
        ),
        (
            catching("TruncatedError"),
            b"\0\0",
            1,
            "python: truncated: stream ended after 2 ",
        ),
        (catching("FrameTooLargeError"), b"\xff" * 4, 1, "python: too-large: "),
        ("sys.exit(7)", CLOSE, 7, ""),
    ],
)
def test_the_status_tells_how_the_session_ended(
    kind: str, body: str, wire: bytes, status: int, line: str
) -> None:
    """Also if ``main`` has caught the error; a status of its own is kept."""
    with started(python(kind, body)) as helper:
        helper.peer.sendall(wire)
        helper.peer.shutdown(socket.SHUT_WR)
        got, said = helper.ends_in_order()
    assert got == status
    assert said.startswith(line)
    assert bool(said) == bool(line)
    assert said.count("\n") <= 1


def test_an_error_of_main_is_raised_once_the_channel_is_closed(kind: str) -> None:
    """The interpreter prints it, and the service sees the end."""
    with started(python(kind, "raise ValueError('out of cheese')")) as helper:
        status, said = helper.ends_in_order()
    assert status == 1
    assert said.startswith("Traceback")
    assert said.endswith("\nValueError: out of cheese\n")


def test_a_blocking_helper_takes_no_coroutine_function() -> None:
    with started(python("blocking", "return __import__('asyncio').sleep(0)")) as helper:
        status, said = helper.ends_in_order()
    assert status == 1
    assert "use ipc_channel.run_helper" in said.splitlines()[-1]


def test_no_service_is_a_failure(kind: str) -> None:
    """One line says so, and no traceback."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        env = main_programs.variables(str(unused.getsockname()[1]))
        with main_programs.process(python(kind, ECHO, ", timeout=0.2"), env) as helper:
            _, said = helper.communicate(timeout=PATIENCE)
    assert helper.returncode == 1
    assert said.startswith("python: timeout: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", main_programs.ENDING_SIGNALS)
def test_the_message_in_hand_is_answered_and_no_other(kind: str, number: int) -> None:
    """Reads end at the signal, although a message is unread."""
    body = f"""
import asyncio
message = await channel.read()
signal.raise_signal({number})
signal.raise_signal({number})  # belongs to the first
{WAIT[kind]}
assert await channel.read() is None
await channel.write(message)
"""
    with started(python(kind, body)) as helper:
        helper.peer.sendall(frame(b"in hand") + frame(b"unread"))
        assert helper.read_frame() == b"in hand"
        assert helper.ends_in_order() == (0, "")


def test_a_signal_ends_a_read_that_waits(kind: str) -> None:
    """The helper then ends in order."""
    with started(python(kind, TELLS)) as helper:
        helper.said("begun")
        helper.send(b"a")
        assert helper.read_frame() == b"a"
        helper.process.send_signal(signal.SIGTERM)
        assert helper.ends_in_order() == (0, "")


def test_a_signal_ends_a_helper_that_waits_for_its_service(
    kind: str, tmp_path: Path
) -> None:
    """Nothing is in hand then, so its status is 0."""
    paths = [str(tmp_path / "in"), str(tmp_path / "out")]
    for path in paths:
        os.mkfifo(path, 0o600)
    env = main_programs.variables(*paths)
    with main_programs.process(python(kind, "pass"), env) as helper:
        end = os.open(paths[1], os.O_RDONLY)  # returns once the helper tries to connect
        try:
            helper.send_signal(signal.SIGTERM)
            _, said = helper.communicate(timeout=PATIENCE)
        finally:
            os.close(end)
    assert (helper.returncode, said) == (0, "")


def test_the_second_signal_has_its_default_action(kind: str) -> None:
    """So a helper that hangs can be ended."""
    with started(
        python(kind, "print('begun', flush=True)\nsignal.pause()\nsignal.pause()")
    ) as helper:
        helper.said("begun")
        while helper.process.poll() is None:
            helper.process.send_signal(signal.SIGTERM)
        assert helper.ended() == (-signal.SIGTERM, "")


def test_a_forked_child_is_another_program(kind: str) -> None:
    """It has the actions from before, and its signals do not end the helper."""
    body = f"""
ready, tell = os.pipe()
if (child := os.fork()) == 0:
    os.write(tell, b"1")
    signal.pause()
    os._exit(9)
os.read(ready, 1)
os.kill(child, signal.SIGTERM)
print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
{ECHO}
"""
    with started(python(kind, body)) as helper:
        helper.said(str(int(signal.SIGTERM)))
        helper.send(b"a")
        assert helper.read_frame() == b"a"
        helper.peer.sendall(CLOSE)
        assert helper.ends_in_order() == (0, "")


def test_signals_that_are_ignored_stay_ignored(kind: str) -> None:
    """As under ``nohup``."""
    command = ["/bin/sh", "-c", 'trap "" HUP INT; exec "$@"', "sh", *python(kind, TELLS)]
    with started(command) as helper:
        helper.said("begun")
        for number in (signal.SIGHUP, signal.SIGINT):
            helper.process.send_signal(number)
            helper.send(b"a")
            assert helper.read_frame() == b"a"
        helper.process.send_signal(signal.SIGTERM)
        assert helper.ends_in_order() == (0, "")


@pytest.mark.parametrize("last", [CLOSE, b""])
def test_a_write_fails_that_nobody_wants(kind: str, last: bytes) -> None:
    """If the service has closed its channel before, that is no failure of the helper."""
    with started(python(kind, ECHO)) as helper:
        helper.peer.sendall(frame(LARGE) + last)
        helper.peer.recv(1000, socket.MSG_WAITALL)  # it is writing now
        helper.peer.shutdown(socket.SHUT_WR)
        leave(helper)
        status, said = helper.ended()
    assert status == (0 if last else 1)
    assert said.startswith("" if last else "python: ")


def leave(helper: Started) -> None:
    """Close with unread input: what the helper writes then is refused."""
    helper.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    helper.peer.close()


def test_output_that_the_service_does_not_take_is_a_failure(kind: str) -> None:
    """Without an error of ``main``, which has not waited for it."""
    body = (
        "try:\n    channel.write(bytes(10**7), timeout=0.1)\nexcept TimeoutError:\n    pass"
        if kind == "blocking"
        else "import asyncio\ntask = asyncio.create_task(channel.write(bytes(10**7)))\n"
        "await asyncio.sleep(0)"
    )
    with started(python(kind, body, ", linger=0.1")) as helper:
        status, said = helper.ended()
    assert status == 1
    assert said.splitlines()[-1].startswith("python: timeout: the service did not take the")
