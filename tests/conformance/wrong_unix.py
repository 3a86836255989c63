"""Faults of connecting over Unix sockets: what a client looks at, and what it takes for final."""

from __future__ import annotations

import errno
import os
import socket
import stat

from conformance.faults import fault
from ipc_channel import BadRendezvousError, users
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.errors import EndReason
from ipc_channel.transports import unix_connector
from ipc_channel.transports.unix_connector import UnixConnector


@fault("connect/refused/symlink-as-socket")
def follows_a_link_to_the_socket() -> None:
    UnixConnector.is_there = lambda self: os.path.exists(self.path)


@fault("connect/refused/file-as-socket")
@fault("connect/refused/named-pipe-as-socket")
@fault("connect/refused/directory-as-socket")
def waits_at_what_is_no_socket() -> None:
    real = UnixConnector.is_there

    def is_there(self: UnixConnector) -> bool:
        mode = os.lstat(self.path).st_mode if os.path.lexists(self.path) else 0
        return stat.S_ISSOCK(mode) and real(self)

    UnixConnector.is_there = is_there


@fault("connect/refused/file-as-socket")
def removes_what_is_no_socket() -> None:
    real = UnixConnector.is_there

    def is_there(self: UnixConnector) -> bool:
        if os.path.isfile(self.path):
            os.unlink(self.path)
            raise BadRendezvousError(self.path)
        return real(self)

    UnixConnector.is_there = is_there


@fault("connect/refused/socket-of-another-user")
def trusts_the_owner_of_every_socket() -> None:
    UnixConnector.is_trusted = lambda self, user: True


@fault("connect/refused/server-of-another-user")
def trusts_every_server() -> None:
    UnixConnector.check_server = lambda self, sock: None


@fault("connect/refused/server-of-another-user")
def writes_before_it_looks() -> None:
    real = UnixConnector.check_server

    def check_server(self: UnixConnector, sock: socket.socket) -> None:
        sock.send(b"\0")
        real(self, sock)

    UnixConnector.check_server = check_server


@fault("connect/refused/unmapped-owner")
def takes_the_unmapped_for_its_own() -> None:
    users.is_ambiguous = lambda user: False


@fault("connect/unix/appears-late")
def gives_up_at_a_missing_socket() -> None:
    _refuse(errno.ENOENT)


@fault("connect/unix/appears-late")
def gives_up_where_no_process_listens() -> None:
    _refuse(errno.ECONNREFUSED)


@fault("connect/unix/full-queue")
def gives_up_at_a_full_queue() -> None:
    _refuse(errno.EAGAIN)


def _refuse(code: int) -> None:
    unix_connector.NEVER = (*unix_connector.NEVER, code)


@fault("connect/unix/one-connection")
def connects_twice_to_a_socket() -> None:
    real = Testee.do_connect
    kept = []

    async def connect(self: Testee, told: Told) -> Told:
        kept.append(socket.socket(socket.AF_UNIX))
        kept[0].connect(told["in"].removeprefix("unix:"))
        return await real(self, told)

    Testee.do_connect = connect


@fault("ends/unread-input")
@fault("connect/unix/turned-away")
def takes_a_reset_for_an_end() -> None:
    real = socket.socket.recv

    def recv(self: socket.socket, size: int, flags: int = 0) -> bytes:
        try:
            return real(self, size, flags)
        except ConnectionResetError:
            return b""

    socket.socket.recv = recv


@fault("ends/close-frame-and-unread-input")
def takes_a_later_reset_for_the_end() -> None:
    real = Testee.do_read

    async def read(self: Testee, told: Told) -> Told:
        answer = await real(self, told)
        if answer.get("end") == EndReason.CLEAN:
            return {"error": "reset", "end": "reset"}
        return answer

    Testee.do_read = read
