"""The message of an error says what to do about it, not only what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipc_channel import from_environment, make_ipc_channel, make_ipc_channel_client

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"lingr": 1}, "'lingr'; there are: linger, max_message_size"),
    ({"max_message_size": "big"}, "a number of bytes, an int, not str"),
    ({"max_message_size": 0}, "is 0, not within 1 and 4294967295 bytes; leave it out for"),
    ({"linger": "1"}, "a number of seconds, an int or a float, not str"),
    ({"linger": -1}, "is -1, not within 0 and 1000000000 seconds"),
    ({"logger": "root"}, "not str; use logging.getLogger(name)"),
    ({"loop": 3}, "not int; leave it out for the running one"),
    ({"transport": "unknown"}, "'unknown', not 'named_pipe' or 'tcp'; leave it out"),
    ({"transport": "tcp", "allowed_users": 1000}, "such as [1000], not 1000; pwd.getpwnam"),
    ({"transport": "named_pipe", "allowed_users": [1]}, "needs transport='tcp'"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make_ipc_channel(**options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Path("/tmp/in"), "in_path is a str, not PosixPath: use os.fspath(path)"),
        (b"/tmp/in", "in_path is a str, not bytes: use os.fsdecode(path)"),
        (5000, "in_path is a str, not int"),
    ],
)
def test_paths(value: Any, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        make_ipc_channel_client(value, value)
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["IPC_CHANNEL_IN", "IPC_CHANNEL_OUT"])
@pytest.mark.covers("RDV-8")
def test_a_helper_that_is_run_by_hand(name: str) -> None:
    told = {"IPC_CHANNEL_IN": "5000", "IPC_CHANNEL_OUT": "5000"}
    del told[name]
    with pytest.raises(ValueError) as caught:
        from_environment(told)
    assert str(caught.value) == (
        f"environment variable {name} is missing or empty: this program is to be started by"
        " a service, which sets it (in Python, ipc_channel.Helper does); to start it by hand,"
        " set IPC_CHANNEL_IN to the server's out_path and IPC_CHANNEL_OUT to its in_path"
    )


def test_an_environment_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"a mapping such as os\.environ, not list"):
        from_environment([])  # type: ignore[arg-type]  # on purpose
