"""A listening socket that systemd hands over (``LISTEN_FDS``, sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.unix_address import check_path
from ipc_channel.transports.unix_place import Place

_FIRST = 3  # the descriptor of the first socket


class HandedPlace(Place):
    """The socket of a unit: systemd has made it, and keeps it when we have left."""

    is_shared = True

    def __init__(self, wanted: bool | str) -> None:
        """Adopt the socket named ``wanted`` (``FileDescriptorName=``), or the only one."""
        number = _find(wanted)
        try:
            os.set_inheritable(number, False)  # or a helper would have it too
        except OSError as error:
            raise _no_socket(number) from error
        # A copy: the channel may be closed, and another one made of the same socket.
        self._socket = fork.hold(lambda: _copy_of(number))
        try:
            self.path = _path_of(self._socket, number)
        except BaseException:
            self.remove()
            raise

    def listen(self) -> socket.socket:
        self._socket.setblocking(False)
        return self._socket

    def remove(self) -> None:
        """Close our copy; the file is systemd's."""
        fork.close(self._socket)


def _find(wanted: bool | str) -> int:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise BadRendezvousError(
            "systemd has handed no socket to this process (LISTEN_PID is"
            f" {os.environ.get('LISTEN_PID', 'not set')}); start it by a .socket unit,"
            " or leave out systemd="
        )
    told = os.environ.get("LISTEN_FDS", "")
    count = int(told) if told.isdecimal() else 0
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (count - len(names))
    if wanted is True:
        if count == 1:
            return _FIRST
    elif names[:count].count(str(wanted)) == 1:
        return _FIRST + names.index(str(wanted))
    which = "a single one" if wanted is True else f"one named {wanted!r}"
    raise BadRendezvousError(
        f"systemd has handed over {count} sockets, named {names[:count]}, and not {which};"
        " name it with FileDescriptorName= in the unit, and here with systemd=NAME"
    )


def _copy_of(number: int) -> socket.socket:
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError as error:  # a named pipe of ListenFIFO=, for instance
        os.close(copy)
        raise _no_socket(number) from error


def _path_of(sock: socket.socket, number: int) -> str:
    """Return the path of a listening Unix socket; raise BadRendezvousError if it is none."""
    is_ours = sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM
    if not (is_ours and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
        raise _no_socket(number)
    path = os.fsdecode(sock.getsockname())
    check_path(path)
    return path


def _no_socket(number: int) -> BadRendezvousError:
    return BadRendezvousError(
        f"descriptor {number} from systemd is no listening Unix stream socket; use"
        " ListenStream=/PATH in the unit, and Accept=no"
    )
