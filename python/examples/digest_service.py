"""A Python service that has helpers in other languages compute digests.

Every helper is started over each transport: named pipes, a Unix socket, and TCP; on
Windows over TCP only.
It gets each file below a directory as one message and answers each with the
SHA-256 of the message, which the service checks against its own::

    python digest_service.py DIRECTORY --helper Go=./digest --helper "Node=node digest.js"
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ipc_channel import Helper, IPCChannel, IPCChannelError, Transport, make_ipc_channel

ALL_TRANSPORTS: tuple[Transport, ...] = ("named_pipe", "unix", "tcp")
TRANSPORTS = ("tcp",) if sys.platform == "win32" else ALL_TRANSPORTS
UNWANTED = re.compile(
    r"/(\.git|\.nox|\.venv|\.\w+_cache|\.hypothesis|node_modules|__pycache__)/"
)


@dataclass
class Row:
    """What came of one helper over one transport."""

    messages: int = 0
    size: int = 0
    seconds: float = 0.0
    problem: str = ""


def read_messages(root: Path) -> list[bytes]:
    """Return each file as a message: its path, a NUL, and its content.

    The path makes a message of an empty file, too.
    """
    paths = sorted(path for path in root.rglob("*") if not UNWANTED.search(path.as_posix()))
    return [
        str(path.relative_to(root)).encode() + b"\0" + path.read_bytes()
        for path in paths
        if path.is_file() and not path.is_symlink()
    ]


async def exchange(channel: IPCChannel, messages: list[bytes], row: Row) -> None:
    """Send all messages while their digests come back in the same order."""

    async def send() -> None:
        for message in messages:
            await channel.write(message)

    async with asyncio.TaskGroup() as group:  # if one side fails, the other stops waiting
        sending = group.create_task(send())
        for message in messages:
            answer = await channel.read()
            if answer != hashlib.sha256(message).hexdigest().encode():
                row.problem = f"message {row.messages}: got {answer!r}"
                sending.cancel()
                return
            row.messages += 1
            row.size += len(message)


async def run(command: list[str], transport: Transport, messages: list[bytes]) -> Row:
    """Start one helper, exchange all messages with it, and see that it ends well."""
    row = Row()
    start = time.perf_counter()
    helper = Helper(command, make_ipc_channel(transport=transport))
    try:
        async with helper as channel:
            await exchange(channel, messages, row)
    except* IPCChannelError as errors:
        error = errors.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        row.problem = f"{type(error).__name__}: {error}"
    row.seconds = time.perf_counter() - start
    if not row.problem and helper.process.returncode:
        row.problem = f"helper ended with status {helper.process.returncode}"
    return row


async def main() -> int:
    parser = argparse.ArgumentParser(description="Have helpers compute digests.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--helper", action="append", required=True, metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    messages = read_messages(arguments.directory.resolve())
    table = Table("helper", "transport", title="Every file, there and its digest back")
    for column in ("messages", "bytes", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("result")
    good = bool(messages)
    for name, _, command in (text.partition("=") for text in arguments.helper):
        for transport in TRANSPORTS:
            row = await run(shlex.split(command), transport, messages)
            good = good and not row.problem and row.messages == len(messages)
            table.add_row(
                name,
                transport,
                f"{row.messages:,}",
                f"{row.size:,}",
                f"{row.seconds:.2f}",
                f"[red]{row.problem}[/]" if row.problem else "[green]all digests equal[/]",
            )
    Console().print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
