"""Private directories that a killed service has left."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ipc_channel.transports import locked_directory
from ipc_channel.transports.private_directory import PrivateDirectory


def sweep() -> None:
    """Do what the first channel of a process does as it is made."""
    locked_directory._next_sweep.clear()
    PrivateDirectory().remove()


def leave_stale(*pipes: str, suffix: str = "abcd_123") -> Path:
    """Make what a killed service leaves."""
    directory = Path(tempfile.gettempdir(), "ipc-channel-py-" + suffix)
    directory.mkdir(0o700)
    for name in pipes:
        os.mkfifo(directory / name, 0o600)
    return directory
