"""Which clients to pair with the Python channel: its own, and each ``--helper``.

``--go`` and ``--node`` build and run the skeletons.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

ECHO = Path(__file__).parents[2] / "python" / "examples" / "echo.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--helper", action="append", default=[], metavar="NAME=COMMAND")
    for tool in ("go", "node"):
        parser.addoption(f"--{tool}", default=tool, metavar="COMMAND")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "command" in metafunc.fixturenames:
        named = [text.partition("=") for text in metafunc.config.getoption("helper")]
        commands = {name: shlex.split(command) for name, _, command in named}
        commands["Python"] = [sys.executable, str(ECHO)]
        metafunc.parametrize("command", commands.values(), ids=commands.keys())
