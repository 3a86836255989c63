"""Advice on what to do about a program that cannot be started."""

from __future__ import annotations

import errno
import os
import stat

_ADVICE = {
    errno.ENOENT: "check the path, or PATH if it has no slash, and cwd",
    errno.EACCES: "make it executable, and its directory and cwd accessible",
    errno.ENOEXEC: "it needs a #! line, or to be built for this machine",
    errno.E2BIG: "shorten the command or env, and send large input as messages",
    errno.EAGAIN: "the user has as many processes as RLIMIT_NPROC allows: ulimit -u",
    errno.EMFILE: "the service has as many open files as RLIMIT_NOFILE allows: ulimit -n",
    errno.ENOMEM: "there is no memory left for another process",
}
# By the numbers of Windows, of which errno has too few.
_ADVICE_ON_WINDOWS = {
    2: "check the path, or PATH if it has no backslash; only .exe and .com may be left out",
    3: "check the path",
    5: "check that it is a program, and that this user may execute it",
    8: "there is no memory left for another process",
    50: "a helper needs Windows 10 or later",
    193: "start a script with its interpreter; a program has to be built for Windows",
    206: "shorten the command, and send large input as messages",
    216: "it needs to be built for this machine",
    740: "it asks for the rights of an administrator: start the service with them",
    1455: "there is no memory left for another process",
}
_ABOUT_CWD = {errno.ENOENT: "does not exist", errno.ENOTDIR: "is not a directory"}
_TILDE = "~ is not expanded: use os.path.expanduser"
_FIRST_LINE = 256  # bytes in which the kernel looks for the interpreter


def advice(error: Exception, program: str, cwd: str | None) -> str | None:
    """Return what to do about ``error``, or None if there is no advice."""
    if not isinstance(error, OSError):
        return None
    if cwd is not None and cwd == error.filename and error.errno in _ABOUT_CWD:
        hint = f"; {_TILDE}" if cwd.startswith("~") else ""
        return f"cwd {cwd!r} {_ABOUT_CWD[error.errno]}{hint}"
    if error.errno == errno.ENOENT and program.startswith("~"):
        return _TILDE
    if (number := getattr(error, "winerror", None)) is not None:
        return _ADVICE_ON_WINDOWS.get(number)
    if error.errno in (errno.ENOENT, errno.EACCES) and isinstance(error.filename, str):
        about = _about_file(error.filename)
        if about is not None:
            return about
    return _ADVICE.get(error.errno or 0)


def _about_file(path: str) -> str | None:
    """Return why the program at ``path`` could not be started, or None if unknown."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return "it is a directory, not a program"
        interpreter = interpreter_of(path) if mode & 0o111 else None
    except OSError:
        return None
    if interpreter is None or os.path.exists(interpreter):
        return None
    return f"the interpreter in its first line, {interpreter!r}, does not exist"


def interpreter_of(path: str) -> str | None:
    """Return the interpreter in the file's #! line, or None; raise OSError if unreadable."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return None  # opening it might block
    with open(path, "rb") as file:
        line = file.read(_FIRST_LINE).partition(b"\n")[0]
    words = line.removeprefix(b"#!").strip(b" \t").replace(b"\t", b" ").split(b" ")
    return os.fsdecode(words[0]) if line.startswith(b"#!") and words[0] else None
