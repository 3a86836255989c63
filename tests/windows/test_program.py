"""Which file Windows is told to start."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from fake_windows import CodedError
from ipc_channel.windows import process
from ipc_channel.windows.program import find_program


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Two directories, and the current one."""
    made = tmp_path / "one", tmp_path / "two", tmp_path / "here"
    for place in made:
        place.mkdir()
    monkeypatch.chdir(made[2])
    return made


def test_a_name_is_looked_up_in_path_of_the_helper(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its order, whatever the case of that name, and not where the service would look."""
    one, two, here = places
    for place in places:
        (place / "tool.exe").touch()
    (two / "other.exe").touch()
    monkeypatch.setenv("PATH", str(here))
    path = os.pathsep.join([str(here / "nowhere"), f'"{one}"', str(two)])
    for name in ("PATH", "Path"):
        assert find_program("tool", {name: path}, None) == str(one / "tool.exe")
        assert find_program("other.exe", {name: path}, two) == str(two / "other.exe")


@pytest.mark.parametrize(
    "path", [None, "", ".", os.pathsep, "one", os.path.join("..", "here")]
)
def test_a_name_is_not_looked_up_in_the_current_directory(
    places: tuple[Path, Path, Path], path: str | None
) -> None:
    """Nor where it leads to, nor in ``cwd``: anyone may have put a file there."""
    (places[2] / "tool.exe").touch()
    (places[2] / "one").mkdir()
    (places[2] / "one" / "tool.exe").touch()
    env = {} if path is None else {"PATH": path}
    assert find_program("tool", env, None) is None
    assert find_program("tool.exe", env, places[2]) is None


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        (["tool.exe", "tool.com", "tool"], "tool", "tool.exe"),
        (["tool.com", "tool", "tool.bat", "tool.cmd"], "tool", "tool.com"),
        (["tool", "tool.exe.exe"], "tool", "tool"),
        (["tool.com"], "tool.com", "tool.com"),
        (["tool.exe.exe"], "tool.exe", None),
        (["tool-1.2.exe"], "tool-1.2", "tool-1.2.exe"),
        (["tool.cmd", "tool.bat", "tool.js"], "tool", None),
        ([], "tool", None),
    ],
)
def test_its_end_may_be_left_out(
    places: tuple[Path, Path, Path], files: list[str], name: str, found: str | None
) -> None:
    one, two, _ = places
    (one / name).mkdir()  # is no program
    for file in files:
        (two / file).touch()
    path = None if found is None else str(two / found)
    assert find_program(name, {"PATH": f"{one}{os.pathsep}{two}"}, None) == path
    if path is not None:
        assert find_program(str(two / name), {}, None) == path


def test_a_path_counts_from_cwd_on(places: tuple[Path, Path, Path]) -> None:
    one, _, here = places
    tool = os.path.join("bin", "tool")
    for place in (one, here):
        (place / "bin").mkdir()
        (place / "bin" / "tool.exe").touch()
    assert find_program(tool, {}, one) == str(one / "bin" / "tool.exe")
    assert find_program(tool, {}, os.path.join("..", "one")) == str(
        one / "bin" / "tool.exe"
    )
    assert find_program(tool, {}, None) == str(here / "bin" / "tool.exe")
    assert find_program(str(one / tool), {}, here) == str(one / "bin" / "tool.exe")


def test_windows_says_what_is_wrong_with_a_path(places: tuple[Path, Path, Path]) -> None:
    """And of what, wherever this process is by then."""
    for path in (os.path.join("bin", "nothing.exe"), os.path.join(".", "nothing")):
        found = find_program(path, {}, places[0])
        assert found == os.path.normpath(places[0] / path)


@pytest.mark.parametrize("directory", ["", os.path.join("some where", "")])
@pytest.mark.parametrize("end", [".bat", ".cmd", ".BAT", ".Cmd ", ".cmd..", ".bat. ."])
def test_a_batch_file_is_refused(end: str, directory: str) -> None:
    with pytest.raises(ValueError, match=r"is a batch file.*start the program itself"):
        find_program(f"{directory}tool{end}", {}, None)


def test_windows_gets_the_file_and_the_words(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words are those of the user."""
    told: list[Any] = []

    def start(file: str, line: Any, *_: Any) -> bool:
        told.extend((file, line.value))
        return True

    def create(path: str) -> None:
        process.create_process(
            ["tool", "a b"],
            env={"PATH": path, "SYSTEMROOT": ""},
            cwd=None,
            own_group=True,
            nice=0,
            job=0,
            streams={},
            made=process.ProcessInformation(),
        )

    for name, context in (("_standard_handles", [0, 0, 0]), ("_attributes", 0)):
        made = contextlib.nullcontext(context)
        monkeypatch.setattr(process, name, lambda *_, made=made: made)
    monkeypatch.setattr(process, "_get_console_code_page", lambda: 1)
    monkeypatch.setattr(process, "close_handle", lambda _: True)
    monkeypatch.setattr(process, "_create_process", start)
    monkeypatch.setattr(process, "error_of", lambda code, _: CodedError(code))
    (places[0] / "tool.exe").touch()
    create(str(places[0]))
    assert told == [str(places[0] / "tool.exe"), 'tool "a b"']
    with pytest.raises(CodedError) as caught:
        create("")
    assert caught.value.winerror == 2
    assert len(told) == 2
