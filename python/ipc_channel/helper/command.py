"""How a helper is started: its command, environment, directory and process group."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ipc_channel.errors import HelperError
from ipc_channel.helper.advice import advice
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.launch import Launch
from ipc_channel.helper.output import HelperOutput
from ipc_channel.options import check_flag

if sys.platform == "win32":
    from ipc_channel.helper.windows_process import start_child
else:
    from ipc_channel.helper.posix_process import start_child


class Command:
    """A checked program with its arguments, and the options of its start."""

    def __init__(
        self,
        words: Sequence[str | os.PathLike[str]],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        add_env: Mapping[str, str | None] | None = None,
        launch: Launch | None = None,
        process_group: bool,
        end_grace: float | None = 5.0,
    ) -> None:
        self.words = _check_command(words)
        self._name = name
        self._env = dict(os.environ) if env is None else _check_env(env)
        _change(self._env, {} if add_env is None else add_env)
        self.added = {k: v for k, v in (add_env or {}).items() if v is not None}
        self.cwd = _check_cwd(cwd)
        self._launch = launch or Launch()
        self._process_group = check_flag("process_group", process_group)
        self._end_grace = end_grace

    def start(
        self, told: Mapping[str, str], output: HelperOutput | None = None
    ) -> HelperProcess:
        """Start the program; ``told`` is the rendezvous, which goes into its environment.

        The caller begins to read ``output``; the process that is returned closes it.
        """
        output = output or HelperOutput()
        env = {**self._env, **told}
        try:
            words, cwd = self._launch.command(self.words, env, self.cwd)
            child = start_child(
                words,
                env=env,
                cwd=cwd,
                nice=self._launch.nice,
                own_group=self._process_group,
                end_grace=self._end_grace,
                streams=output.ends,
            )
        except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
            raise self.cannot_start(error) from error
        return HelperProcess(child, self.words, output)

    def cannot_start(self, error: Exception) -> HelperError:
        """Return the error that says what to do about ``error``."""
        known = advice(error, self.words[0], self.cwd)
        hint = "" if known is None else f"; {known}"
        return HelperError(f"cannot start helper {self}: {error}{hint}")

    def __str__(self) -> str:
        words = (word if len(word) <= 60 else word[:57] + "..." for word in self.words)
        text = shlex.join(" ".join(word.split()) for word in words)
        text = text if len(text) <= 200 else text[:197] + "..."
        return text if self._name is None else f"{self._name} ({text})"


def _check_command(command: Any) -> list[str]:
    """Return ``command`` as a list; raise unless it is a program and its arguments."""
    unordered = isinstance(command, AbstractSet | Mapping)
    if isinstance(command, str | bytes) or unordered or not isinstance(command, Iterable):
        kind = type(command).__name__
        raise TypeError(
            "command is a list of the program and its arguments, not"
            f" {kind}{_command_hint(command)}"
        )
    words = [_check_word(number, word) for number, word in enumerate(command)]
    if not words:
        raise TypeError("command is empty: its first element is the program to start")
    return words


def _command_hint(command: Any) -> str:
    """Return a hint with the list that a command given as one string stands for."""
    if isinstance(command, os.PathLike):
        command = os.fspath(command)
    if not isinstance(command, str):
        return '; pass for example ["./helper"]'
    try:
        words = shlex.split(command)
    except ValueError:  # an unclosed quotation
        words = command.split()
    return f"; pass {json.dumps(words or ['./helper'], ensure_ascii=False)}"


def _check_word(number: int, word: Any) -> str:
    name = f"command[{number}]"
    text = os.fspath(word) if isinstance(word, os.PathLike) else word
    if isinstance(text, bytes):
        raise TypeError(f"{name} is a str or a path, not bytes: use os.fsdecode(word)")
    if not isinstance(text, str):
        hint = f': pass "{text}"' if isinstance(text, int | float) else ""
        raise TypeError(f"{name} is a str or a path, not {type(text).__name__}{hint}")
    return _without_nul(name, text)


def _check_cwd(cwd: Any) -> str | None:
    """Return ``cwd`` as a str, or raise TypeError unless it is a path or None."""
    path = os.fspath(cwd) if isinstance(cwd, os.PathLike) else cwd
    if isinstance(path, bytes):
        raise TypeError("cwd is a str or a path, not bytes: use os.fsdecode(cwd)")
    if not isinstance(path, str | None):
        kind = type(path).__name__
        raise TypeError(f"cwd is a str or a path, not {kind}; leave it out for ours")
    return None if path is None else _without_nul("cwd", path)


def _check_env(env: Any) -> dict[str, str]:
    """Return a copy of ``env``; raise unless it consists of valid names and values."""
    if not isinstance(env, Mapping):
        raise TypeError(
            f"env is a mapping of str to str, not {type(env).__name__};"
            ' to add variables to ours pass for example add_env={"NAME": "value"}'
        )
    for name, value in env.items():
        _check_variable("env", name, value)
    return dict(env)


def _change(env: dict[str, str], changes: Any) -> None:
    """Set the variables of ``changes``, or remove those that are None there."""
    if not isinstance(changes, Mapping):
        raise TypeError(
            "add_env is a mapping of str to str, or to None to remove a variable, not"
            f" {type(changes).__name__}"
        )
    for name, value in changes.items():
        _check_variable("add_env", name, "" if value is None else value)
        if sys.platform == "win32":  # where the names have no case
            for same in [one for one in env if one.upper() == name.upper()]:
                del env[same]
        env.pop(name, None)
        if value is not None:
            env[name] = value


def _check_variable(what: str, name: Any, value: Any) -> None:
    if not (isinstance(name, str) and isinstance(value, str)):
        raise TypeError(
            f"{what} has {name!r}: {value!r}, which are not both strings: use str()"
        )
    if not name or "=" in name:
        raise ValueError(f"{what} has the name {name!r}: it must not be empty or have a =")
    _without_nul(f"{what}[{name!r}]", name + value)


def _without_nul(name: str, text: str) -> str:
    if "\0" in text:
        raise ValueError(f"{name} has a NUL byte, which cannot be passed on: {text!r}")
    return text
