"""Faults of connecting over every transport and over TCP: how long, how often, with which options."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from conformance.faults import fault
from ipc_channel.aio.session import Session
from ipc_channel.conformance.python_testee import Testee, Told
from ipc_channel.transports import named_pipe, socket_stream, tcp_socket


@fault("cancel/connect")
def cancelled_connect_leaves_something_open() -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        kept = os.dup(0)
        answer = await real(self, told)
        os.close(kept)
        return answer

    Testee.do_connect = connect


@fault("connect/tcp/one-connection")
def connects_twice() -> None:
    real = Testee.do_connect
    kept = []

    async def connect(self: Testee, told: Told) -> Told:
        kept.append(socket.create_connection(("127.0.0.1", int(told["in"]))))
        return await real(self, told)

    Testee.do_connect = connect


@fault("connect/tcp/stays-until-accepted")
def leaves_before_it_is_let_in() -> None:
    async def finish(self: Session, linger: float) -> None:
        self.sender.close()

    Session.finish = finish


@fault("connect/tcp/full-queue")
@fault("connect/unix/full-queue")
def connects_as_long_as_the_system_likes() -> None:
    real = socket.socket.connect_ex

    def connect(self: socket.socket, address: Any) -> int:
        self.setblocking(True)
        try:
            return real(self, address)
        finally:
            self.setblocking(False)

    socket.socket.connect_ex = connect


@fault("connect/tcp/no-network")
def tries_again_where_there_is_no_network() -> None:
    tcp_socket.NEVER = ()


@fault("connect/timeout")
def ignores_its_timeout() -> None:
    set_timeout(lambda timeout: 3600)


@fault("connect/timeout")
def gives_up_early() -> None:
    set_timeout(lambda timeout: timeout / 2)


@fault("connect/client-first")
def does_not_wait() -> None:
    set_timeout(lambda timeout: 0)


def set_timeout(change: Callable[[float], float]) -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        return await real(self, told | {"timeout": change(told.get("timeout", 10))})

    Testee.do_connect = connect


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
        kept.append(self.channel)
        self.channel = None
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


@fault("connect/tcp/reset-before-it-looks")
def forgets_a_reset_that_it_met_as_it_connected() -> None:
    def begin(self: socket_stream.SocketStream, *args: Any, was_reset: bool) -> None:
        real(self, *args)

    real = socket_stream.SocketStream.__init__
    socket_stream.SocketStream.__init__ = begin


@fault("connect/tcp/reset-before-it-looks")
def takes_a_reset_as_it_connects_for_a_failure() -> None:
    tcp_socket.RESET_SINCE = ()
    tcp_socket.LACKING += (errno.ECONNRESET,)


@fault("connect/tcp/meets-itself")
def takes_itself_for_its_server() -> None:
    class Blind(socket.socket):
        def getsockname(self) -> Any:
            return "elsewhere", 0

    socket.socket = Blind
