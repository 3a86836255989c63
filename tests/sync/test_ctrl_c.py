"""Ctrl-C in a program that is blocked in a call of its channel."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dispositions
from blocking import eventually
from raw import CLOSE, PATIENCE, Raw, dial, frame

PROGRAM = Path(__file__).parents[1] / "blocking_program.py"
LARGE = bytes(10**7)


class Program:
    """The blocking program, which tells where it is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        self._out = process.stdout
        self.paths = self.told().split("\t")

    def told(self) -> str:
        """Return its next line."""
        return self._out.readline().strip()

    def interrupt(self) -> None:
        """Send SIGINT once it sleeps, and nothing wakes it any more."""
        eventually(self.sleeps)
        self.process.send_signal(signal.SIGINT)
        assert self.told() == "interrupted"

    def sleeps(self) -> bool:
        for _ in range(20):
            stat = Path(f"/proc/{self.process.pid}/stat").read_bytes()
            if stat.rpartition(b")")[2].split()[0] != b"S":
                return False
            time.sleep(0.001)  # to see that nothing happens
        return True

    def ends(self) -> None:
        assert self.process.wait(PATIENCE) == 0


@contextlib.contextmanager
def program(transport: str, within: str) -> Iterator[Program]:
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), transport, within],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions.restore,
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


def goes_on(one: Program, peer: Raw) -> None:
    """Have the program echo, and end."""
    assert peer.recv_frame() == b"goes on"
    peer.send(frame(b"x"))
    assert peer.recv_frame() == b"x"
    peer.send(CLOSE)
    assert peer.recv_all() == []
    peer.close()
    one.ends()


def test_in_connect(transport: str) -> None:
    with program(transport, "connect") as one:
        assert one.told() == "begins"
        one.interrupt()
        goes_on(one, dial(*one.paths))


def test_in_read(transport: str) -> None:
    with program(transport, "read") as one:
        peer = dial(*one.paths)
        peer.send(frame(b"whole")[:5])
        assert one.told() == "begins"
        one.interrupt()
        peer.send(frame(b"whole")[5:])
        assert peer.recv_frame() == b"goes on"
        assert peer.recv_frame() == b"whole"
        peer.send(CLOSE)
        assert peer.recv_all() == []
        peer.close()
        one.ends()


def test_in_write(transport: str) -> None:
    with program(transport, "write") as one:
        peer = dial(*one.paths)
        assert one.told() == "begins"
        one.interrupt()
        assert peer.recv_frame() == LARGE
        goes_on(one, peer)


def test_in_close(transport: str) -> None:
    with program(transport, "close") as one:
        peer = dial(*one.paths)
        assert one.told() == "full"
        assert one.told() == "begins"
        one.interrupt()
        assert one.told() == "True"
        one.ends()
        assert peer.recv_frame() == b"first"
        peer.close()


@pytest.mark.parametrize("within", ["connect", "read"])
def test_that_ends_the_program(transport: str, within: str) -> None:
    """As in most programs, which do not handle it."""
    code = PROGRAM.read_text("utf-8").replace(
        "except KeyboardInterrupt", "except ValueError"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, transport, within],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions.restore,
    ) as process:
        one = Program(process)
        peer = None if within == "connect" else dial(*one.paths)
        assert one.told() == "begins"
        eventually(one.sleeps)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert errors.splitlines()[-1].startswith(("KeyboardInterrupt", "ResourceWarning"))
        assert process.returncode == -signal.SIGINT
        if peer is not None:
            assert peer.is_ended()
            peer.close()
