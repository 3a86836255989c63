"""Which file is the program of a command.

Left to itself, Windows also looks in the directory of this process's program and in the
current directory, and so may start a file that anyone has put there. It looks through PATH
of this process, not through that of the helper. And it hands batch files to cmd.exe, which
reads the arguments by rules of its own: some of them would be commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

_BATCH_FILES = (".bat", ".cmd")
_PROGRAMS = (".exe", ".com")
_IGNORED_AT_THE_END = ". "  # of the name of a file, by Windows


def find_program(
    program: str, env: Mapping[str, str], cwd: str | os.PathLike[str] | None
) -> str | None:
    """Return the path of ``program``; None if PATH of ``env`` leads to none.

    A name alone is looked up in the absolute directories of PATH, and nowhere else; one with
    a directory counts from ``cwd`` on. ".exe" and ".com" may be left out. Raises ValueError
    for a batch file.
    """
    if program.rstrip(_IGNORED_AT_THE_END).lower().endswith(_BATCH_FILES):
        raise ValueError(
            f"{program!r} is a batch file, so cmd.exe would run it, and take parts of the"
            " arguments for commands: start the program itself, such as node.exe with the"
            " script"
        )
    if not os.path.dirname(program):
        paths = (os.path.join(place, program) for place in _places(env))
        return next(filter(None, map(_file, paths)), None)
    path = os.path.abspath(os.path.join(os.fspath(cwd or ""), program))
    return _file(path) or path  # Windows says what is wrong with it


def _places(env: Mapping[str, str]) -> Iterator[str]:
    """Yield the directories of PATH, without those that the current directory decides."""
    named = {name.upper(): value for name, value in env.items()}
    for place in named.get("PATH", "").split(os.pathsep):
        path = place.strip('"')
        if os.path.isabs(path):
            yield path


def _file(path: str) -> str | None:
    """Return the program at ``path``, whose name may lack its end; None if there is none."""
    ends = ("",) if path.lower().endswith(_PROGRAMS) else (*_PROGRAMS, "")
    return next(filter(os.path.isfile, map(path.__add__, ends)), None)
