"""Which clients to pair with the Python channel: its own, and each ``--helper``.

Each ``--testee`` is put through random sequences of events, beside Python's own.

``--go`` and ``--node`` build and run the skeletons.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

PYTHON_TESTEE = [sys.executable, "-m", "ipc_channel.conformance.python_testee"]
ECHO = Path(__file__).parents[2] / "python" / "examples" / "echo.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    for kind in ("--helper", "--testee"):
        parser.addoption(kind, action="append", default=[], metavar="NAME=COMMAND")
    for tool in ("go", "node"):
        parser.addoption(f"--{tool}", default=tool, metavar="COMMAND")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, option, own in (
        ("command", "helper", [sys.executable, str(ECHO)]),
        ("testee", "testee", PYTHON_TESTEE),
    ):
        if fixture in metafunc.fixturenames:
            named = [text.partition("=") for text in metafunc.config.getoption(option)]
            commands = {name: shlex.split(command) for name, _, command in named}
            commands["Python"] = own
            metafunc.parametrize(fixture, commands.values(), ids=commands.keys())
