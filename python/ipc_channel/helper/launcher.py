"""The program between the service and a helper with a user, limits or a nice value.

``posix_spawn`` can set none of these, and Python code between ``fork`` and ``exec`` is unsafe
in a service with threads. So a small Python starts in place of the helper, sets itself up,
and becomes the helper: process number, descriptors and environment stay. ``launch.py``
passes this file to it as text, which works from a zip file too; it imports nothing of this
package.

    STEP... -- PROGRAM WORD...

A step is ``name=value``; the steps are carried out in their order.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal has enums, which take milliseconds
import os
import resource
import sys

FAILED = 126
"""Exit status if the helper could not be started, as of a shell."""


def _limit(value: str) -> None:
    name, soft, hard = value.split(":")
    resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (int(soft), int(hard)))


def _groups(value: str) -> None:
    os.setgroups([int(one) for one in value.split(",")])


def _directory(value: str) -> None:
    os.chdir(value)
    os.environ["PWD"] = value  # as a shell does


def _locale(value: str) -> None:
    """Undo what Python may have done: in the locale "C" it sets LC_CTYPE (PEP 538)."""
    os.environ.pop("LC_CTYPE", None)
    if value:
        os.environ["LC_CTYPE"] = value


def _nice(value: str) -> None:
    os.nice(int(value))


def _gid(value: str) -> None:
    os.setgid(int(value))


def _uid(value: str) -> None:
    os.setuid(int(value))


_STEPS = {
    "locale": (_locale, "set LC_CTYPE"),
    "nice": (_nice, "change the nice value by"),
    "limit": (_limit, "set the limit (name:soft:hard)"),
    "groups": (_groups, "change the supplementary groups to"),
    "gid": (_gid, "change the group to"),
    "uid": (_uid, "change the user to"),
    "cwd": (_directory, "enter the directory"),
}


def main(words: list[str]) -> None:
    """Carry out the steps, and become the program; or say why not, and exit."""
    end = words.index("--")
    program, *command = words[end + 1 :]
    doing = ""
    try:
        for step in words[:end]:
            name, _, value = step.partition("=")
            carry_out, text = _STEPS[name]
            doing = f"{text} {value}"
            carry_out(value)
        doing = f"execute {program}"
        _restore_signals()
        os.execv(program, command)  # noqa: S606  # a shell would not do the same
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "out of memory"
        line = f"ipc-channel: cannot {doing}: {reason}\n"
        os.write(2, line.encode(errors="surrogateescape"))
    os._exit(FAILED)


def _restore_signals() -> None:
    for name in ("SIGPIPE", "SIGXFSZ"):  # which Python ignores for itself
        if hasattr(_signal, name):
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)


if __name__ == "__main__":
    main(sys.argv[1:])
