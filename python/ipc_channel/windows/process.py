"""Starting a process in a job from its first instruction on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from ctypes import wintypes

from ipc_channel.windows.api import (
    NO_SUCH_PROCESS,
    Function,
    close_handle,
    closing,
    code_of,
    duplicate,
    error_of,
    last_error,
)
from ipc_channel.windows.program import find_program

_HANDLE, _DWORD, _ANY = wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p
_create_process = Function(
    "kernel32",
    "CreateProcessW",
    *(wintypes.LPCWSTR, wintypes.LPWSTR, _ANY, _ANY, wintypes.BOOL, _DWORD),
    *(_ANY, wintypes.LPCWSTR, _ANY, _ANY),
)
_initialize_attributes = Function(
    "kernel32",
    "InitializeProcThreadAttributeList",
    *(_ANY, _DWORD, _DWORD, ctypes.POINTER(ctypes.c_size_t)),
)
_update_attribute = Function(
    "kernel32",
    "UpdateProcThreadAttribute",
    *(_ANY, _DWORD, ctypes.c_size_t, _ANY, ctypes.c_size_t, _ANY, _ANY),
)
_delete_attributes = Function(
    "kernel32", "DeleteProcThreadAttributeList", _ANY, result=None
)
_get_standard_handle = Function("kernel32", "GetStdHandle", _DWORD, result=_HANDLE)
_get_console_code_page = Function("kernel32", "GetConsoleCP", result=wintypes.UINT)
_open_process = Function(
    "kernel32", "OpenProcess", _DWORD, wintypes.BOOL, _DWORD, result=_HANDLE
)
_query_image_name = Function(
    "kernel32",
    "QueryFullProcessImageNameW",
    *(_HANDLE, _DWORD, wintypes.LPWSTR, wintypes.LPDWORD),
)

_FILE_NOT_FOUND = 2
_QUERY_LIMITED_INFORMATION = 0x1000
_CONSOLE_HOSTS = ("conhost.exe", "openconsole.exe")
_HANDLE_LIST = 0x20002
_JOB_LIST = 0x2000D
_STANDARD_OUTPUT, _STANDARD_ERROR = 2**32 - 11, 2**32 - 12
_USE_STANDARD_HANDLES = 0x100
_NEW_PROCESS_GROUP = 0x200
_UNICODE_ENVIRONMENT = 0x400
_IDLE, _BELOW_NORMAL, _ABOVE_NORMAL, _HIGH = 0x40, 0x4000, 0x8000, 0x80
_FAR = 15  # the increment from which on a class is the last but one
_EXTENDED_STARTUP = 0x80000
_NO_WINDOW = 0x8000000


class ProcessInformation(ctypes.Structure):
    """The handles and numbers of a process that was started."""

    _fields_ = (
        ("process", _HANDLE),
        ("thread", _HANDLE),
        ("process_id", _DWORD),
        ("thread_id", _DWORD),
    )


class _Startup(ctypes.Structure):
    """STARTUPINFOEXW."""

    _fields_ = (
        ("size", _DWORD),
        ("texts", wintypes.LPWSTR * 3),
        ("window", _DWORD * 7),
        ("flags", _DWORD),
        ("show_window", wintypes.WORD),
        ("reserved_size", wintypes.WORD),
        ("reserved", _ANY),
        ("standard_handles", _HANDLE * 3),
        ("attributes", _ANY),
    )


def create_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    own_group: bool,
    nice: int,
    job: int,
    streams: Mapping[int, int],
    made: ProcessInformation,
) -> None:
    """Start a process in ``job`` with an empty standard input; raise OSError or ValueError.

    It inherits nothing but standard output (1) and standard error (2): the handles in
    ``streams``, and otherwise ours. ``made`` is filled in by
    Windows: so the process is not lost if a signal handler raises right after the start.
    """
    program = find_program(command[0], env, cwd)
    if program is None:
        raise error_of(_FILE_NOT_FOUND, command[0])
    startup = _Startup()
    startup.size = ctypes.sizeof(startup)
    startup.flags = _USE_STANDARD_HANDLES
    line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
    block = ctypes.create_unicode_buffer(_block(env))
    with _standard_handles(streams) as handles, _attributes(handles, job) as attributes:
        startup.standard_handles[:] = handles
        startup.attributes = attributes
        done = _create_process(
            *(
                program,
                line,
                None,
                None,
                True,
                _flags(own_group=own_group) | priority_class(nice),
                block,
            ),
            *(
                None if cwd is None else os.fspath(cwd),
                ctypes.byref(startup),
                ctypes.byref(made),
            ),
        )
        if not done:
            raise last_error(command[0])
    close_handle(made.thread)


def _block(env: Mapping[str, str]) -> str:
    """Return an environment as Windows takes it, whose names have no case.

    Without SYSTEMROOT a program cannot even open a socket.
    """
    named = {"SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
    named |= {name.upper(): value for name, value in env.items()}
    return "".join(f"{name}={named[name]}\0" for name in sorted(named))


def is_console_host(pid: int) -> bool:
    """Whether a process only serves the console of others, or has ended.

    Windows starts it for a program that has a console of its own; it ends by itself. A
    process that we may not ask about is none.
    """
    name, size = ctypes.create_unicode_buffer(2**15), _DWORD(2**15)
    process = _open_process(_QUERY_LIMITED_INFORMATION, False, pid)
    if not process:
        return code_of(last_error()) == NO_SUCH_PROCESS
    with closing(process):
        _query_image_name(process, 0, name, ctypes.byref(size))
    return os.path.basename(name.value).lower() in _CONSOLE_HOSTS


def _flags(*, own_group: bool) -> int:
    flags = _UNICODE_ENVIRONMENT | _EXTENDED_STARTUP
    if own_group:
        flags |= _NEW_PROCESS_GROUP
    if not _get_console_code_page():
        # A process without a console would have Windows open one, in a new window.
        flags |= _NO_WINDOW
    return flags


def priority_class(nice: int) -> int:
    """Return the class for an increment of a nice value; 0, for ours, if that is 0."""
    if nice == 0:
        return 0
    if nice > 0:
        return _IDLE if nice >= _FAR else _BELOW_NORMAL
    return _HIGH if nice <= -_FAR else _ABOVE_NORMAL


@contextlib.contextmanager
def _standard_handles(streams: Mapping[int, int]) -> Iterator[list[int]]:
    """Yield inheritable handles for standard input, output and error."""
    if sys.platform != "win32":
        raise NotImplementedError
    import msvcrt  # noqa: PLC0415  # only Windows has it

    with open(os.devnull, "r+b", buffering=0) as null, contextlib.ExitStack() as stack:
        nothing = msvcrt.get_osfhandle(null.fileno())
        os.set_handle_inheritable(nothing, True)
        handles = [nothing]
        for stream, which in ((1, _STANDARD_OUTPUT), (2, _STANDARD_ERROR)):
            ours = streams.get(stream) or _get_standard_handle(which)
            try:
                # -1 would be a handle of this process, and its copy all rights over us.
                handles.append(duplicate(_valid(ours), inheritable=True))
                stack.callback(close_handle, handles[-1])
            except OSError:  # a service without windows has none
                handles.append(nothing)
        yield handles


def _valid(handle: int | None) -> int:
    """Return a handle, or 0 for none and for INVALID_HANDLE_VALUE."""
    return 0 if handle in (None, _HANDLE(-1).value) else handle


@contextlib.contextmanager
def _attributes(inherited: Sequence[int], job: int) -> Iterator[int]:
    """Yield the address of what a new process is to inherit, and of its job."""
    # Windows refuses a list that has a handle twice.
    handles = (_HANDLE * len(set(inherited)))(*dict.fromkeys(inherited))
    jobs = (_HANDLE * 1)(job)
    size = ctypes.c_size_t()
    _initialize_attributes(None, 2, 0, ctypes.byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    _initialize_attributes.checked(attributes, 2, 0, ctypes.byref(size))
    try:
        for name, values in ((_HANDLE_LIST, handles), (_JOB_LIST, jobs)):
            _update_attribute.checked(
                *(attributes, 0, name, values, ctypes.sizeof(values), None, None)
            )
        yield ctypes.addressof(attributes)
    finally:
        _delete_attributes(attributes)
