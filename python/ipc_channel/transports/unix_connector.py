"""Connects to a server's Unix socket, if the server's user is trusted (RDV-65 to RDV-67)."""

from __future__ import annotations

import errno
import os
import socket
import stat

from ipc_channel import fork
from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.credentials import peer_user
from ipc_channel.users import Owner, User, is_allowed, our_user

NEVER = (
    *(errno.EACCES, errno.EPERM, errno.EPROTOTYPE, errno.ENOTSOCK),
    *(errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG),
)
# This system lacks a resource.
LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOT_YET = {
    errno.ENOENT: "there is no {!r}",
    errno.ECONNREFUSED: "no process listens at {!r}",
    errno.EAGAIN: "the queue of {!r} is full",
}
_ROOT = 0


class UnixConnector:
    """Tries to connect to the socket at ``path``.

    The server has to belong to our own user, to root, or to one of ``allowed_users``.
    """

    def __init__(self, path: str, allowed_users: frozenset[User]) -> None:
        self.path = path
        self.last_attempt = ""
        """Why the last attempt did not connect; "" before the first."""
        self._trusted_users = allowed_users | {_ROOT}

    def attempt(self) -> socket.socket | None:
        """Connect once; None if the server is not there yet.

        Raises BadRendezvousError if the path can never lead to a trusted server, and
        OSError if this process lacks something.
        """
        if not self.is_there():
            return None
        sock = fork.hold(lambda: socket.socket(socket.AF_UNIX))
        try:
            sock.setblocking(False)
            if (code := sock.connect_ex(self.path)) == 0:
                self.check_server(sock)
                return sock
            self._check(code)
            if code in LACKING:
                raise OSError(code, os.strerror(code), self.path)
            self._note(code)
        except BaseException:
            fork.close(sock)
            raise
        fork.close(sock)
        return None

    def is_there(self) -> bool:
        """Whether there is a socket at the path; it has to be a trusted user's (RDV-66)."""
        try:
            status = os.lstat(self.path)
        except OSError as error:
            self._check(error.errno)
            if error.errno != errno.ENOENT:
                raise
            self._note(error.errno)
            return False
        if stat.S_ISLNK(status.st_mode):
            raise self._never("it is a symbolic link")
        if not stat.S_ISSOCK(status.st_mode):
            raise self._never("it is not a socket")
        if not self.is_trusted(status.st_uid):
            raise self._never(f"the socket belongs to {_describe(status.st_uid)}")
        return True

    def check_server(self, sock: socket.socket) -> None:
        """Raise BadRendezvousError unless a trusted user listens (RDV-65)."""
        if not self.is_trusted(user := peer_user(sock)):
            raise self._never(f"the server belongs to {_describe(user)}")

    def is_trusted(self, user: Owner) -> bool:
        return is_allowed(user, self._trusted_users)

    def _check(self, code: int | None) -> None:
        """Raise BadRendezvousError if no later attempt can succeed."""
        if code in NEVER:
            raise self._never(os.strerror(code))

    def _note(self, code: int) -> None:
        """Keep why this attempt failed; the next may succeed."""
        unknown = f"connecting to {{!r}} failed: {os.strerror(code)}"
        reason = _NOT_YET.get(code, unknown).format(self.path)
        self.last_attempt = (
            f"{reason}; check that the service is running, and that both paths are its"
            " in_path"
        )

    def _never(self, why: str) -> BadRendezvousError:
        return BadRendezvousError(f"bad rendezvous {self.path!r}: {why}")


def _describe(user: Owner) -> str:
    known = "a user that the system cannot tell" if user is None else f"user {user}"
    return f"{known}, not to this user ({our_user()}) or root; allow it with allowed_users"
