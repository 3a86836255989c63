"""What a helper is started as: its command, environment, directory and process group."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipc_channel.errors import HelperError
from ipc_channel.helper_process import HelperProcess
from ipc_channel.process import start_child

_ADVICE = {
    errno.ENOENT: "check the path, or PATH if it has no slash, and cwd",
    errno.EACCES: "make it executable, and its directory and cwd accessible",
    errno.ENOEXEC: "it needs a #! line, or to be built for this machine",
    errno.E2BIG: "shorten the command or env, and send large input as messages",
    errno.EAGAIN: "the user has as many processes as RLIMIT_NPROC allows: ulimit -u",
    errno.EMFILE: "the service has as many open files as RLIMIT_NOFILE allows: ulimit -n",
    errno.ENOMEM: "there is no memory left for another process",
}


class Command:
    """A program and its arguments, checked, and how it is started."""

    def __init__(
        self,
        words: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        process_group: bool,
    ) -> None:
        self.words = _check_command(words)
        self._env = dict(os.environ) if env is None else _check_env(env)
        self._cwd = cwd
        if not isinstance(process_group, bool):
            kind = type(process_group).__name__
            raise TypeError(f"process_group is True or False, not {kind}")
        self._process_group = process_group

    def start(self, told: Mapping[str, str]) -> HelperProcess:
        """Start it with the rendezvous that it is ``told`` by its environment."""
        try:
            child = start_child(
                self.words,
                env={**self._env, **told},
                cwd=self._cwd,
                own_group=self._process_group,
            )
        except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
            advice = _ADVICE.get(getattr(error, "errno", None) or 0)
            hint = "" if advice is None else f"; {advice}"
            raise HelperError(f"cannot start helper {self}: {error}{hint}") from error
        return HelperProcess(child)

    def __str__(self) -> str:
        words = (word if len(word) <= 60 else word[:57] + "..." for word in self.words)
        text = shlex.join(" ".join(word.split()) for word in words)
        return text if len(text) <= 200 else text[:197] + "..."


def _check_command(command: Any) -> list[str]:
    """Return ``command``, or raise unless it is a program and its arguments."""
    if isinstance(command, Iterable) and not isinstance(command, str | bytes):
        words = [os.fspath(w) if isinstance(w, os.PathLike) else w for w in command]
        if words and all(isinstance(word, str) for word in words):
            if "\0" in "".join(words):
                raise ValueError(f"command has a NUL byte: {command!r}")
            return words
    raise TypeError(f"command is a non-empty sequence of strings, not {command!r}")


def _check_env(env: Mapping[Any, Any]) -> dict[str, str]:
    """Return a copy of ``env``, or raise TypeError unless it is all strings."""
    for name, value in env.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError(f"env has {name!r}: {value!r}, which are not both strings")
    return dict(env)
