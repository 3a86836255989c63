"""A child process on Windows, where ``subprocess`` has a handle of it."""

from __future__ import annotations

import subprocess

from ipc_channel.fork import this_process


class WindowsChild:
    """A child that ``subprocess`` has a handle of, which keeps its number."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.maker = this_process()
        self.status_lost = False
        self._process = process

    @property
    def released(self) -> bool:
        return self._process.returncode is not None

    def poll(self) -> int | None:
        return self._process.poll()

    def group_lives(self) -> bool:
        return False

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        self._process.send_signal(number)

    def release(self) -> None:
        pass

    def duplicate(self) -> int:
        return -1  # there is none
