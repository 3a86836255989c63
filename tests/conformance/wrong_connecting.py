"""Faults of connecting: what a client looks at, opens, waits for and leaves open."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

from conformance.faults import fault
from ipc_channel import BadRendezvousError, named_pipe, pipe_files, pipe_stream, tcp_socket
from ipc_channel.conformance.python_testee import Testee, Told

_Opening = named_pipe._Opening
NONE = pipe_stream.NONE


def change_connect(change: Callable[..., Any]) -> None:
    """Let ``change`` connect in the testee's place, which is given what did so before."""
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        answer: Told = await change(self, told, real)
        return answer

    Testee.do_connect = connect


@fault("connect/at-once")
def a_timeout_of_zero_never_tries() -> None:
    async def connect(self: Testee, told: Told, real: Any) -> Any:
        return await real(self, told) if told["timeout"] else {"error": "timeout"}

    change_connect(connect)


@fault("connect/ends-the-one-before")
def a_second_connect_leaves_the_first() -> None:
    kept = []

    async def connect(self: Testee, told: Told, real: Any) -> Any:
        kept.append(self._channel)
        self._channel = None
        return await real(self, told)

    change_connect(connect)


@fault("cancel/connect-is-over")
def a_cancelled_connect_goes_on() -> None:
    async def connect(self: Testee, told: Told, real: Any) -> Any:
        return await asyncio.shield(asyncio.ensure_future(real(self, told)))

    change_connect(connect)


@fault("limits/options/max-message-size-zero")
@fault("limits/options/linger-negative")
def takes_any_option() -> None:
    async def connect(self: Testee, told: Told, real: Any) -> Any:
        kept = {
            key: max(told[key], 1) for key in ("linger", "max_message_size") if key in told
        }
        return await real(self, told | kept)

    change_connect(connect)


@fault("limits/options/largest")
def takes_no_limit_over_a_gibibyte() -> None:
    async def connect(self: Testee, told: Told, real: Any) -> Any:
        size = told.get("max_message_size", 1)
        return await real(self, told | {"max_message_size": min(size, 2**30)})

    change_connect(connect)


@fault("limits/options/smallest")
def takes_no_limit_under_a_kibibyte() -> None:
    async def connect(self: Testee, told: Told, real: Any) -> Any:
        size = told.get("max_message_size", 2**20)
        return await real(self, told | {"max_message_size": max(size, 1024)})

    change_connect(connect)


# --- Attempts


def change_pauses(pauses: Callable[[], Iterator[float]]) -> None:
    real = named_pipe.backoff

    def backoff(*until: Any) -> Iterator[float]:
        for _, pause in zip(real(*until), pauses(), strict=False):
            yield pause

    named_pipe.backoff = tcp_socket.backoff = backoff


@fault("connect/tries")
def tries_without_a_pause() -> None:
    change_pauses(lambda: itertools.repeat(0))


@fault("connect/tries")
def tries_once_a_second() -> None:
    change_pauses(lambda: itertools.repeat(1))


@fault("connect/tries-soon")
def begins_with_the_longest_pause() -> None:
    change_pauses(lambda: itertools.repeat(0.02))


@fault("connect/tcp/no-delay")
def sets_no_tcp_nodelay() -> None:
    socket.TCP_NODELAY = socket.TCP_QUICKACK


@fault("connect/tcp/meets-itself")
def takes_itself_for_its_server() -> None:
    class Blind(socket.socket):
        def getsockname(self) -> Any:
            return "elsewhere", 0

    socket.socket = Blind


# --- Named pipes


@fault("connect/refused/file-as-out-beside-nothing")
def looks_at_out_only_beside_in() -> None:
    real = _Opening._check_paths

    def check(self: _Opening) -> None:
        if os.path.lexists(self._address.in_path):
            real(self)

    _Opening._check_paths = check


@fault("connect/refused/in-is-not-opened")
def opens_before_it_looks() -> None:
    def check(self: _Opening) -> None:
        if os.path.exists(self._address.in_path):
            os.close(os.open(self._address.in_path, os.O_RDONLY | os.O_NONBLOCK))
        real(self)

    real = _Opening._check_paths
    _Opening._check_paths = check


@fault("connect/refused/the-same-pipe")
def meets_itself_by_two_names() -> None:
    real = _Opening._check_paths

    def check(self: _Opening) -> None:
        try:
            real(self)
        except BadRendezvousError as error:
            if "the same pipe" not in str(error):
                raise

    _Opening._check_paths = check


@fault("connect/refused/in-becomes-a-file")
@fault("connect/refused/out-becomes-a-file")
def does_not_look_at_what_it_has_opened() -> None:
    class Blind:
        check_fifo = staticmethod(lambda path, status: None)

        def __getattr__(self, name: str) -> Any:
            return getattr(pipe_files, name)

    named_pipe.pipe_files = Blind()


@fault("connect/refused/out-becomes-a-symlink")
def opens_what_has_become_a_symbolic_link() -> None:
    os.O_NOFOLLOW = 0


@fault("connect/pipes/stays-open")
def closes_both_when_a_reader_leaves() -> None:
    real = _Opening.attempt

    def attempt(self: _Opening, loop: Any) -> Any:
        if self._out != NONE and pipe_stream.poll(self._out, 0) & select.POLLERR:
            self.close()
        return real(self, loop)

    _Opening.attempt = attempt


@fault("connect/pipes/reader-has-left")
def does_not_look_whether_its_reader_is_there() -> None:
    _Opening._is_read = lambda self: self._out != NONE


@fault("connect/pipes/visited-between-calls")
def does_not_look_again_when_its_names_are_wrong() -> None:
    real, looks = _Opening._sees_peer, []
    attempt = _Opening.attempt

    def sees_peer(self: _Opening) -> bool:
        looks.append(1)
        return len(looks) == 1 and real(self)

    def begin(self: _Opening, loop: Any) -> Any:
        looks.clear()
        return attempt(self, loop)

    _Opening._sees_peer, _Opening.attempt = sees_peer, begin


@fault("connect/pipes/new-beside-old")
def opens_a_new_out_beside_an_old_in() -> None:
    real = _Opening._is_elsewhere
    _Opening._is_elsewhere = lambda self: self._out != NONE and real(self)


@fault("connect/pipes/gives-up-half-way")
@fault("cancel/connect-half-way")
def leaves_its_writing_end_open() -> None:
    def close(self: _Opening) -> None:
        pipe_stream.close(self._in)
        self._forget()

    _Opening.close = close


@fault("connect/pipes/after-who-passed-by")
def looks_after_a_passer_by_too_seldom() -> None:
    pipe_stream._RECHECK = 2
