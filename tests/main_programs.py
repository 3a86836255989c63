"""Helpers around ``run_helper`` for tests, and a raw service that starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dispositions
from ipc_channel.conformance.raw_peer import CLOSE, frame
from raw import PATIENCE

ROOT = Path(__file__).parents[1]
LARGE = bytes(range(256)) * 80_000
"""More than the kernel holds, so that a helper that sends it waits."""


def variables(address: str, out: str | None = None) -> dict[str, str]:
    """Return the environment of a helper; an empty string leaves a variable out."""
    path = os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
    given = {"IPC_CHANNEL_IN": address, "IPC_CHANNEL_OUT": address if out is None else out}
    kept = {name: value for name, value in os.environ.items() if name not in given}
    return kept | {"PYTHONPATH": path} | {k: v for k, v in given.items() if v}


class Started:
    """A helper, and the raw end of its channel over TCP."""

    def __init__(self, process: subprocess.Popen[str], peer: socket.socket) -> None:
        self.process = process
        self.peer = peer

    def read_frame(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(4), "big"))

    def _exactly(self, size: int) -> bytes:
        return self.peer.recv(size, socket.MSG_WAITALL) if size else b""

    def send(self, message: bytes) -> None:
        self.peer.sendall(frame(message))

    def rest(self) -> bytes:
        """Return all that the helper still sends."""
        return b"".join(iter(lambda: self.peer.recv(2**20), b""))

    def reset(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def said(self, line: str) -> None:
        """Wait for a line on its stdout."""
        assert self.process.stdout
        assert self.process.stdout.readline() == line + "\n"

    def ended(self) -> tuple[int, str]:
        """Wait for its end; return its status and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def ends_in_order(self) -> tuple[int, str]:
        """Check that it sends a close frame and nothing else; return what ``ended`` does."""
        assert self.rest() == CLOSE
        self.peer.close()
        return self.ended()


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[Started]:
    """Start a helper, and accept its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        address = str(server.getsockname()[1])
        with process(command, variables(address)) as helper:
            peer, _ = server.accept()
            peer.settimeout(PATIENCE)
            with peer:
                yield Started(helper, peer)


@contextlib.contextmanager
def process(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a helper with an environment, and kill it in the end."""
    with subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions.restore,
    ) as helper:
        try:
            yield helper
        finally:
            helper.kill()


def python(kind: str, body: str, options: str = "") -> list[str]:
    """Return the command of a helper in Python whose ``main`` is ``body``.

    ``kind`` is asyncio, uvloop or blocking; the ``await`` of a body is left out for the last.
    """
    if kind == "blocking":
        module, prefix = "ipc_channel.sync", ""
        body = body.replace("await ", "").replace("async ", "")
    else:
        module, prefix = "ipc_channel", "async "
    if kind == "uvloop":
        options += ", loop_factory=__import__('uvloop').new_event_loop"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    code = (
        f"import os, sys, signal, threading\nfrom {module} import *\nfrom {module} import"
        f" run_helper\n{prefix}def main(channel):\n{lines}run_helper(main{options})\n"
    )
    return [sys.executable, "-c", code]


ENDING_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
