"""Where the socket file of a server is, and how it stays there (RDV-61, RDV-68 to RDV-70)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.listener import BACKLOG
from ipc_channel.transports.lock_file import LockFile
from ipc_channel.transports.locked_directory import NAME_SIZE, LockedDirectory
from ipc_channel.transports.temporary_directory import saying_what_to_do, short_directory
from ipc_channel.transports.unix_address import MAX_PATH
from ipc_channel.users import why_not_ours

_NAME = "socket"
_WHAT = "a Unix socket"
_CHOOSE = (
    "make that directory, and let this user create files in it, or choose another path"
)


class Place(ABC):
    """The path of a listening socket, which clients are told."""

    path: str
    is_shared = False
    """Whether other processes listen on the same socket."""

    @abstractmethod
    def listen(self) -> socket.socket:
        """Return the first listening socket."""

    def refresh(self) -> socket.socket | None:
        """Return the socket to listen on: a new one if the file of the last one is gone.

        None leaves everything as it is. Raises BadRendezvousError if something else is
        there by now, and OSError.
        """
        return None

    @abstractmethod
    def remove(self) -> None:
        """Remove what was made; nothing happens the second time."""


class _SocketFile:
    """A socket file of ours, known again by its device and inode."""

    def __init__(self, path: str, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._made: os.stat_result | None = None
        self._process = fork.this_process()
        self.socket: socket.socket | None = None
        """Listens at the file that was made last."""

    def make(self) -> socket.socket:
        """Bind, set the mode, and listen; until then no client can connect."""
        sock = fork.hold(lambda: socket.socket(socket.AF_UNIX))
        try:
            sock.setblocking(False)
            sock.bind(self._path)
            self._made = os.lstat(self._path)
            _set_mode(self._path, self._mode)
            sock.listen(BACKLOG)
            self.socket = sock
        except BaseException:
            # A signal handler may have raised right after bind had made the file.
            if sock.getsockname():
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
            fork.close(sock)
            raise
        return sock

    def is_there(self) -> bool:
        """Whether the path leads to our socket.

        Raises BadRendezvousError if it leads to something else.
        """
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            return False
        if self._made is not None and os.path.samestat(status, self._made):
            return True
        raise BadRendezvousError(
            f"the channel's socket {self._path!r} was replaced by another file; close the"
            " channel, remove that file, and make another channel"
        )

    def remove(self) -> None:
        """Remove the file, unless it is not ours or this is a forked child."""
        with contextlib.suppress(OSError, BadRendezvousError):
            if self._process.runs and self.is_there():
                os.unlink(self._path)


def _set_mode(path: str, mode: int) -> None:
    """Give a socket file its mode, which the umask may have cut."""
    try:
        # In a directory that others can write to, a link may have replaced the file: its
        # target must not be given away.
        os.chmod(path, mode, follow_symlinks=False)
    except NotImplementedError:  # the C library cannot, or it is a link
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
        os.chmod(path, mode)


class PrivatePlace(Place):
    """A socket in a fresh directory, which other users can at most pass through."""

    def __init__(self, logger: logging.Logger, *, is_open: bool) -> None:
        """``is_open`` if users other than ours are allowed: then the modes let them in."""
        parent = short_directory(
            NAME_SIZE + 1 + len(_NAME), MAX_PATH, logger, is_open=is_open
        )
        with saying_what_to_do(repr(parent), _WHAT):
            self._directory = LockedDirectory.create(parent, 0o711 if is_open else 0o700)
        self.path = os.path.join(self._directory.path, _NAME)
        self._file = _SocketFile(self.path, 0o666 if is_open else 0o600)
        # Not a method of ours, which would keep this object alive; also at exit.
        self._remove = weakref.finalize(self, _remove, self._file, self._directory.remove)

    def listen(self) -> socket.socket:
        with saying_what_to_do(repr(self._directory.path), _WHAT):
            return self._file.make()

    def refresh(self) -> socket.socket | None:
        if not self._remove.alive:
            return None
        try:
            # Looked at first: a service that has given up its rights since owns neither,
            # and can go on as long as nothing is to be made.
            with contextlib.suppress(PermissionError):
                if self._file.is_there():
                    return self._file.socket
            return self._file.make() if self._directory.hold() else None
        except (FileNotFoundError, NotADirectoryError) as error:
            self._directory.check_parent(error)
            return None  # a cleaner came in between: the next look makes all anew

    def remove(self) -> None:
        _finish(self._remove)


class FixedPlace(Place):
    """A socket at a path that the application has chosen."""

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self._file = _SocketFile(path, mode)
        self._lock = LockFile(path + ".lock")
        self._remove = weakref.finalize(self, _remove, self._file, self._lock.release)

    def listen(self) -> socket.socket:
        with self._saying_what_to_do():
            if not self._lock.acquire():
                raise _in_use(self.path)
            remove_stale_socket(self.path)
            return self._make()

    def refresh(self) -> socket.socket | None:
        if not self._remove.alive:
            return None
        with self._saying_what_to_do():
            if self._file.is_there():
                # A cleaner may have removed the lock only. Clients can do without it.
                with contextlib.suppress(OSError, BadRendezvousError):
                    self._lock.renew()
                return self._file.socket
            if not self._lock.renew():
                raise _in_use(self.path)
            return self._make()

    def _make(self) -> socket.socket:
        try:
            return self._file.make()
        except OSError as error:
            # By a program that does not look at the lock.
            raise _in_use(self.path) if error.errno == errno.EADDRINUSE else error from None

    def _saying_what_to_do(self) -> contextlib.AbstractContextManager[None]:
        return saying_what_to_do(repr(os.path.dirname(self.path)), _WHAT, _CHOOSE)

    def remove(self) -> None:
        _finish(self._remove)


def remove_stale_socket(path: str) -> None:
    """Remove a socket of our user at which no process listens.

    Raises BadRendezvousError for anything else at the path, and OSError (EADDRINUSE)
    if a process listens there.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):  # of an empty path, the working directory
        raise BadRendezvousError(f"{path!r} is a directory; choose a path in it")
    why = why_not_ours(status.st_uid)
    if not stat.S_ISSOCK(status.st_mode):
        why = "is not a socket"
    if why is not None:
        raise BadRendezvousError(
            f"{path!r} {why}, and is left alone; remove it, or choose another path"
        )
    probe = fork.hold(lambda: socket.socket(socket.AF_UNIX))
    try:
        probe.setblocking(False)
        if probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT):
            raise _in_use(path)
    finally:
        fork.close(probe)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _in_use(path: str) -> OSError:
    return OSError(
        errno.EADDRINUSE,
        f"a process listens at {path!r} already; stop it, or choose another path",
    )


def _remove(file: _SocketFile, then: Callable[[], None]) -> None:
    file.remove()
    then()


def _finish(removing: weakref.finalize[..., Any]) -> None:
    """Remove; if a signal handler raises meanwhile, the next call removes the rest."""
    if (found := removing.peek()) is not None:
        _, remove, arguments, _ = found
        remove(*arguments)
        removing.detach()
