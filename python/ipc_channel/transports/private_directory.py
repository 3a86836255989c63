"""The directory that holds the named pipes of one channel (spec/rendezvous.md)."""

from __future__ import annotations

import contextlib
import os
import weakref

from ipc_channel.errors import BadRendezvousError
from ipc_channel.transports.locked_directory import LockedDirectory
from ipc_channel.transports.pipe_address import check_named_pipes_exist
from ipc_channel.transports.pipe_files import make_pipes
from ipc_channel.transports.temporary_directory import (
    saying_what_to_do,
    temporary_directory,
)


class PrivateDirectory:
    """A fresh 0700 directory that holds the named pipes of one channel.

    Each pipe serves one session only: otherwise bytes that one peer left unread would
    reach the next peer. So :meth:`refresh` replaces used pipes, as soon as the peer is
    certain not to be a stray opener, or at the end of the session.
    """

    def __init__(self) -> None:
        check_named_pipes_exist()
        parent = temporary_directory()
        with saying_what_to_do(repr(parent)):
            self._directory = LockedDirectory.create(parent)
        self.path = self._directory.path
        self.in_path = os.path.join(self.path, "in")
        self.out_path = os.path.join(self.path, "out")
        self._remove = weakref.finalize(self, self._directory.remove)  # also at exit
        try:
            with saying_what_to_do(repr(parent)):
                self._make()
        except BaseException:
            self.remove()
            raise

    def refresh(self) -> None:
        """Replace pipes that are used or missing by new ones of the same names.

        A cleaner of old files may have removed the pipes, or the directory with them.
        Then the directory is recreated at the same path, since the helper was told it.

        Raises BadRendezvousError if the path leads to something that is not ours, or
        cannot be recreated because its parent directory is gone.
        """
        try:
            if not self._remove.alive or not self._directory.hold():
                return
            if self.used or not all(map(os.path.lexists, (self.in_path, self.out_path))):
                self._make()
        except (FileNotFoundError, NotADirectoryError) as error:
            # Otherwise a cleaner interfered: the next attempt recreates everything.
            self._directory.check_parent(error)

    def try_refresh(self) -> None:
        """Refresh; if that fails, leave it to the next connect, which reports why."""
        with contextlib.suppress(OSError, BadRendezvousError):
            self.refresh()

    def remove(self) -> None:
        """Remove the directory; further calls do nothing."""
        self._remove()

    def _make(self) -> None:
        # Our `out` last: it is the client's `in`, so a client that finds the new `in`
        # finds the new `out` as well.
        make_pipes(self.in_path, self.out_path)
        self.used = False
        """Whether the present pipes have served a session."""
