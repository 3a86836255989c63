"""The name of a helper, under which its output is logged."""

from __future__ import annotations

from typing import Any

import pytest

from ipc_channel import Helper
from ipc_channel.helper.names import name_of


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["./bin/digest"], "digest"),
        (["C:\\tools\\digest.exe", "-v"], "digest"),
        (["/usr/bin/python3.11", "-u", "/srv/echo.py"], "echo"),
        (["node", "worker.mjs"], "worker"),
        (["python3", "-m", "package"], "python3"),
        (["sh", "-c", "exit"], "sh"),
        (["./v1.2"], "v1_2"),
        (["."], "_"),
    ],
)
def test_the_name_is_that_of_the_program_or_script(command: list[str], name: str) -> None:
    assert name_of(command) == name


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), (".a", ValueError), (b"a", TypeError)]
)
def test_what_is_no_name(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="name is "):
        Helper(["x"], name=name)
