"""Helpers that use the library itself."""

from __future__ import annotations

import sys
from pathlib import Path

ECHO = [sys.executable, str(Path(__file__).parents[1] / "python" / "examples" / "echo.py")]


def child(code: str) -> list[str]:
    """Return the command of a helper that runs ``code``, with ``channel`` at hand."""
    intro = (
        "import asyncio, os, signal, sys, time\n"
        "from ipc_channel import from_environment, make_ipc_channel_client\n"
        "channel = make_ipc_channel_client(*from_environment())\n"
    )
    return [sys.executable, "-c", intro + code]


def main(body: str) -> list[str]:
    """Return the command of a helper that runs ``body`` with its channel connected."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return child(
        f"async def main():\n    await channel.connect()\n{lines}asyncio.run(main())"
    )
