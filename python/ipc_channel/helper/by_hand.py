"""What a user is told who is to start a helper by hand: in a debugger, for instance."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence


def explain(command: Sequence[str], told: Mapping[str, str], cwd: str | None) -> None:
    """Print to standard error how to start the helper so that it connects."""
    text = instructions(command, told, cwd, windows=os.name == "nt")
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def instructions(
    command: Sequence[str], told: Mapping[str, str], cwd: str | None, *, windows: bool
) -> str:
    """Return the variables, and a command line that sets them and starts the helper."""
    variables = "".join(f"\n    {name}={value}" for name, value in told.items())
    return (
        "The service waits for this helper, without limit. Give it these variables,"
        f" for instance in your debugger:{variables}\n"
        f"or start it in {'PowerShell' if windows else 'a shell'}:\n"
        f"    {_change_to(cwd, windows=windows)}{_line(command, told, windows=windows)}"
    )


def _change_to(cwd: str | None, *, windows: bool) -> str:
    if cwd is None:
        return ""
    return f"cd '{cwd}'; " if windows else f"cd {shlex.quote(cwd)} && "


def _line(command: Sequence[str], told: Mapping[str, str], *, windows: bool) -> str:
    if not windows:
        settings = (f"{name}={shlex.quote(value)}" for name, value in told.items())
        return " ".join([*settings, shlex.join(command)])
    settings = (f"$env:{name} = '{value}'" for name, value in told.items())
    return "; ".join([*settings, f"& {subprocess.list2cmdline(command)}"])
