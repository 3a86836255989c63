"""Installs a filter that reports a testee's system calls to the suite (Linux).

``python syscall_filter.py SOCKET KINDS COMMAND …`` hands the listener of a filter for
these kinds of calls to the suite and becomes the command. It imports little, since it
begins each time.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import platform
import socket
import sys
from typing import Literal, NamedTuple

Kind = Literal["look", "open", "connect", "no_delay", "ask", "read", "write"]


class Number(NamedTuple):
    """A system call: the arguments with its path, and the flag without which it passes."""

    kind: Kind
    path: int | None
    flags: int | None = None
    wanted: int = 0
    option: tuple[int, int] | None = None
    """The level and name of the only option of a socket that does not pass."""


_NONBLOCK = 0x800  # O_NONBLOCK
_NOFOLLOW = 0x100  # AT_SYMLINK_NOFOLLOW
_NO_DELAY = (socket.IPPROTO_TCP, 1)
_ERROR = (1, 4)  # SOL_SOCKET, SO_ERROR
MACHINES: dict[str, tuple[int, dict[int, Number]]] = {
    "x86_64": (
        0xC000003E,
        {
            0: Number("read", None),
            1: Number("write", None),
            2: Number("open", 0, 1, _NONBLOCK),
            6: Number("look", 0),
            19: Number("read", None),
            20: Number("write", None),
            42: Number("connect", None),
            44: Number("write", None),
            45: Number("read", None),
            46: Number("write", None),
            47: Number("read", None),
            52: Number("ask", None),
            54: Number("no_delay", None, option=_NO_DELAY),
            55: Number("ask", None, option=_ERROR),
            257: Number("open", 1, 2, _NONBLOCK),
            262: Number("look", 1, 3, _NOFOLLOW),
            328: Number("write", None),
            332: Number("look", 1, 2, _NOFOLLOW),
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            56: Number("open", 1, 2, _NONBLOCK),
            63: Number("read", None),
            64: Number("write", None),
            65: Number("read", None),
            66: Number("write", None),
            79: Number("look", 1, 3, _NOFOLLOW),
            203: Number("connect", None),
            205: Number("ask", None),
            206: Number("write", None),
            207: Number("read", None),
            208: Number("no_delay", None, option=_NO_DELAY),
            209: Number("ask", None, option=_ERROR),
            211: Number("write", None),
            212: Number("read", None),
            287: Number("write", None),
            291: Number("look", 1, 2, _NOFOLLOW),
        },
    ),
}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
# The descriptor on which the filter itself is sent to the suite, which cannot let that
# write continue before it has the filter. So high that a testee does not get it again.
_SUITE = 200
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000


def checked(result: int) -> int:
    """Return the result of a system call, or raise its error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("true", ctypes.c_ubyte),
        ("false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_ushort),
        ("instructions", ctypes.POINTER(_Instruction)),
    )


_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in what a filter is given


def _program(kinds: list[str]) -> list[tuple[int, int, int, int]]:
    architecture, numbers = MACHINES[platform.machine()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _ALLOW),
    ]
    for number, known in numbers.items():
        if known.kind in kinds:
            body = [*_checks(known), (_RETURN, 0, 0, _NOTIFY)]
            program += [(_LOAD, 0, 0, _NUMBER), (_EQUAL, 0, len(body), number), *body]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _checks(known: Number) -> list[tuple[int, int, int, int]]:
    """Return the part of the filter that lets calls pass without a report."""
    checks: list[tuple[int, int, int, int]] = []
    if known.flags is not None:
        checks += [_argument(known.flags), (_ANY_BIT, 1, 0, known.wanted)]
        checks += [(_RETURN, 0, 0, _ALLOW)]
    if known.option is not None:
        for index, value in enumerate(known.option, 1):
            checks += [_argument(index), (_EQUAL, 1, 0, value), (_RETURN, 0, 0, _ALLOW)]
    if known.kind in ("read", "write"):  # not those of a standard stream, or of our own
        checks += [_argument(0), (_GREATER, 1, 0, 2), (_RETURN, 0, 0, _ALLOW)]
        checks += [(_EQUAL, 0, 1, _SUITE), (_RETURN, 0, 0, _ALLOW)]
    return checks


def _argument(index: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _install(kinds: list[str]) -> int:
    """Install the filter for this thread, also after exec; return its listener."""
    libc = ctypes.CDLL(None, use_errno=True)
    checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    lines = _program(kinds)
    instructions = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    program = ctypes.byref(_Program(len(lines), instructions))
    number = _SECCOMP[platform.machine()]
    flags = _NEW_LISTENER | _WAIT_KILLABLE
    listener: int = libc.syscall(number, _SET_FILTER, flags, program)
    if listener < 0 and ctypes.get_errno() == errno.EINVAL:  # before Linux 5.19
        listener = libc.syscall(number, _SET_FILTER, _NEW_LISTENER, program)
    return checked(listener)


def _become(fd: int, kinds: list[str], command: list[str]) -> None:
    """Pass the filter's listener to the suite, and become the testee."""
    os.dup2(fd, _SUITE, inheritable=False)
    os.close(fd)
    suite = socket.socket(fileno=_SUITE)
    try:
        listener = _install(kinds)
    except (OSError, KeyError, AttributeError) as error:
        suite.send(f"calls cannot be watched on this machine: {error}".encode())
    else:
        suite.sendmsg(
            [b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))]
        )
        os.close(listener)
    suite.close()
    os.execvp(command[0], command)  # noqa: S606  # a testee is a command


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
