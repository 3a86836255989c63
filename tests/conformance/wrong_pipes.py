"""Faults of connecting over named pipes: what a client looks at, opens, and takes for its server."""

from __future__ import annotations

import errno
import os
import select
from typing import Any

from conformance.faults import fault
from conformance.wrong_connecting import set_timeout
from ipc_channel import BadRendezvousError, users
from ipc_channel.conformance import python_testee
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.transports import pipe_connector, pipe_files, pipe_stream
from ipc_channel.transports.pipe_connector import PipeConnector

NONE = pipe_stream.NONE


@fault("connect/pipes/came-and-went-before")
def drops_who_came_and_went() -> None:
    PipeConnector.has_left = lambda self: False


@fault("connect/pipes/one-is-missing")
def refuses_a_missing_pipe() -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        there = [os.path.exists(told[key]) for key in ("in", "out")]
        if any(there) and not all(there):
            return {"error": "bad-rendezvous"}
        return await real(self, told)

    Testee.do_connect = connect


@fault("connect/pipes/half-a-server")
def counts_half_a_server() -> None:
    PipeConnector.has_writer = lambda self: True


@fault("connect/pipes/passer-by-after")
def passer_by_is_the_end() -> None:
    PipeConnector.has_writer = lambda self: True
    pipe_stream.PipeStream.peer_gone = lambda self: True


@fault("connect/pipes/stale")
def blocks_in_open() -> None:
    def open_pipe(path: str, mode: int) -> int:
        try:
            return os.open(path, mode)
        except FileNotFoundError:
            return pipe_stream.NONE

    pipe_connector.open_pipe = open_pipe
    set_timeout(lambda timeout: timeout or 1)


@fault("connect/refused/symlink-as-in")
def follows_symbolic_links() -> None:
    pipe_files.check_fifo = lambda path, status: None
    os.O_NOFOLLOW = 0


@fault("connect/refused/another-owner")
def trusts_every_owner() -> None:
    pipe_files.check_fifo = lambda path, status: None


@fault("connect/pipes/replaced")
def never_looks_at_the_names_again() -> None:
    PipeConnector.path_was_replaced = lambda self: False


@fault("connect/refused/file-as-out-beside-nothing")
def looks_at_out_only_beside_in() -> None:
    real = PipeConnector.check_paths

    def check(self: PipeConnector) -> None:
        if os.path.lexists(self.address.in_path):
            real(self)

    PipeConnector.check_paths = check


@fault("connect/refused/in-is-not-opened")
def opens_before_it_looks() -> None:
    def check(self: PipeConnector) -> None:
        if os.path.exists(self.address.in_path):
            os.close(os.open(self.address.in_path, os.O_RDONLY | os.O_NONBLOCK))
        real(self)

    real = PipeConnector.check_paths
    PipeConnector.check_paths = check


@fault("connect/refused/the-same-pipe")
def meets_itself_by_two_names() -> None:
    real = PipeConnector.check_paths

    def check(self: PipeConnector) -> None:
        try:
            real(self)
        except BadRendezvousError as error:
            if "the same pipe" not in str(error):
                raise

    PipeConnector.check_paths = check


@fault("connect/refused/in-becomes-a-file")
@fault("connect/refused/out-becomes-a-file")
def does_not_look_at_what_it_has_opened() -> None:
    class Blind:
        check_fifo = staticmethod(lambda path, status: None)

        def __getattr__(self, name: str) -> Any:
            return getattr(pipe_files, name)

    pipe_connector.pipe_files = Blind()


@fault("connect/refused/out-becomes-a-symlink")
def opens_what_has_become_a_symbolic_link() -> None:
    os.O_NOFOLLOW = 0


@fault("connect/pipes/stays-open")
def closes_both_when_a_reader_leaves() -> None:
    real = PipeConnector.attempt

    def attempt(self: PipeConnector, loop: Any) -> Any:
        if self.out_fd != NONE and pipe_stream.poll(self.out_fd, 0) & select.POLLERR:
            self.close()
        return real(self, loop)

    PipeConnector.attempt = attempt


@fault("connect/pipes/reader-has-left")
def does_not_look_whether_its_reader_is_there() -> None:
    PipeConnector.is_read = lambda self: self.out_fd != NONE


@fault("connect/pipes/visited-between-calls")
def does_not_look_again_when_its_names_are_wrong() -> None:
    real, looks = PipeConnector.sees_peer, []
    attempt = PipeConnector.attempt

    def sees_peer(self: PipeConnector) -> bool:
        looks.append(1)
        return len(looks) == 1 and real(self)

    def begin(self: PipeConnector, loop: Any) -> Any:
        looks.clear()
        return attempt(self, loop)

    PipeConnector.sees_peer, PipeConnector.attempt = sees_peer, begin


@fault("connect/pipes/new-beside-old")
def opens_a_new_out_beside_an_old_in() -> None:
    real = PipeConnector.path_was_replaced
    PipeConnector.path_was_replaced = lambda self: self.out_fd != NONE and real(self)


@fault("connect/pipes/gives-up-half-way")
@fault("cancel/connect-half-way")
def leaves_its_writing_end_open() -> None:
    def close(self: PipeConnector) -> None:
        pipe_stream.close(self.in_fd)
        self.forget()

    PipeConnector.close = close


@fault("connect/pipes/after-who-passed-by")
def looks_after_a_passer_by_too_seldom() -> None:
    pipe_stream.RECHECK = 2


@fault("connect/pipes/reader-leaves-meanwhile")
def looks_for_its_reader_only_once() -> None:
    def sees_peer(self: PipeConnector) -> bool:
        if self.out_fd == NONE:
            return self.has_left()
        is_read = self.is_read()
        return self.has_input() or (is_read and self.has_writer())

    PipeConnector.sees_peer = sees_peer


@fault("connect/pipes/last-words-after-a-read")
def looks_for_its_reader_after_the_read() -> None:
    def read(self: pipe_stream.PipeStream, size: int) -> bytes:
        data = os.read(self.in_fd(), size)
        if not (data or self.first_byte_seen or self.peer_gone()):
            self.wait_out_stray_opener()
            raise BlockingIOError
        self.first_byte_seen = True
        return data

    pipe_stream.PipeStream.read = read


@fault("connect/refused/out-becomes-a-directory")
def tells_the_systems_error_of_a_directory() -> None:
    real = pipe_files.raise_unless_missing

    def raise_unless_missing(path: str, error: OSError) -> None:
        if error.errno == errno.EISDIR:
            raise error
        real(path, error)

    pipe_files.raise_unless_missing = raise_unless_missing


@fault("connect/refused/swapped-pipes")
def does_not_look_for_a_lock() -> None:
    pipe_files.is_read_by_server = lambda fd: False


@fault("connect/refused/unmapped-user")
def takes_unmapped_users_for_its_own() -> None:
    users.is_ambiguous = lambda user: False


@fault("connect/pipes/passer-by-after")
@fault("connect/pipes/passer-by-before")
def leaves_along_with_a_passer_by() -> None:
    real = PipeConnector.attempt

    def attempt(self: PipeConnector, loop: Any) -> Any:
        stream = real(self, loop)
        if stream is None and pipe_stream.poll(self.in_fd, 0) & select.POLLHUP:
            os._exit(0)
        return stream

    PipeConnector.attempt = attempt


@fault("environment/leads-to-the-server")
def removes_its_pipes() -> None:
    real = python_testee.from_environment

    def cleaning() -> tuple[str, str]:
        paths = real()
        for path in filter(os.path.exists, paths):
            os.unlink(path)
        return paths

    python_testee.from_environment = cleaning
