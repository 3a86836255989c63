"""The contenders: one row for each pair of processes that does the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import get_args

from ipc_channel import Transport

MANY = "many channels"
LANGUAGES = ("python", "c")
LOOPS = ("asyncio", "uvloop")

_CUT = "loses the rest of a message that does not fit into the pipe at once"
_BARE = "waits for room nowhere and keeps no part of a frame"
_THREAD = "has sockets for one thread only, which cannot block in two calls"
_ONE_WAY = "does the work of ipc-unix-sync but for one way"
_PORT = "gives its port away until it connects, so that many channels collide"


@dataclass(frozen=True)
class Contender:
    """A pair: the driver measures, the peer answers.

    ``adapter`` is the module in ``adapters`` that connects a Python process, and
    ``limit`` the blocking pair, without its language, whose wire is the same.
    """

    name: str
    family: str
    adapter: str
    transport: str
    loop: str = "none"
    driver: str = "python"
    peer: str = "python"
    unable: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why it cannot do a workload, by the workload's name, ``MANY`` or "memory"."""

    @property
    def limit(self) -> str:
        """The start of the names of the blocking pairs over the same kind of stream."""
        return f"limit-{_short(self.transport)}"

    @property
    def many(self) -> bool:
        """Whether one process may hold many of its channels: on an event loop it may."""
        on_loop = self.loop != "none" and self.peer == "python"
        return on_loop and self.family != "grpc" and MANY not in self.unable


def _short(transport: str) -> str:
    return "pipe" if transport == "named_pipe" else transport


_SHORT = {_short(transport): transport for transport in get_args(Transport)}


def _ours() -> list[Contender]:
    return [
        Contender(f"ipc-{_short(transport)}-{loop}", "ipc-channel", "ipc", transport, loop)
        for transport in get_args(Transport)
        for loop in LOOPS
    ]


def _blocking() -> list[Contender]:
    other_work = ("rt-64", "rt-64k", "both-1k", "both-64k", "first", "memory")
    return [
        *(
            Contender(f"ipc-{short}-sync", "ipc-channel", "ipc_sync", transport)
            for short, transport in _SHORT.items()
        ),
        Contender(
            *("ipc-unix-sync-many", "ipc-channel", "ipc_sync_many", "unix"),
            unable=dict.fromkeys(other_work, _ONE_WAY),
        ),
    ]


def _original() -> list[Contender]:
    large = ("64k", "1m", "16m")
    unable = {f"{kind}-{size}": _CUT for kind in ("rt", "ow", "both") for size in large}
    return [
        Contender(
            "original-pipe", "original", "original", "named_pipe", "asyncio", unable=unable
        ),
        Contender(
            "original-tcp", "original", "original", "tcp", "asyncio", unable={MANY: _PORT}
        ),
    ]


def _peers() -> list[Contender]:
    by_hand = [
        Contender(f"protocol-unix-{loop}", "asyncio protocol", "protocol", "unix", loop)
        for loop in LOOPS
    ]
    pipes = [
        Contender(f"stdio-{loop}", "stdin and stdout", "stdio", "named_pipe", loop)
        for loop in LOOPS
    ]
    streams = [
        Contender(
            f"streams-{transport}-{loop}", "asyncio streams", "streams", transport, loop
        )
        for transport in ("unix", "tcp")
        for loop in LOOPS
    ]
    default = Contender(
        "streams-unix-default", "asyncio streams", "streams_default", "unix", "asyncio"
    )
    return [
        *streams,
        default,
        *by_hand,
        *pipes,
        Contender("multiprocessing", "multiprocessing", "multiprocess", "unix"),
        Contender("pyzmq", "pyzmq", "zeromq", "unix", "asyncio"),
        Contender(
            *("pyzmq-blocking", "pyzmq", "zeromq_blocking", "unix"),
            unable=dict.fromkeys(("both-1k", "both-64k"), _THREAD),
        ),
        Contender("pynng", "pynng", "nng", "unix", "asyncio"),
        Contender("grpc", "grpc", "grpc_aio", "unix", "asyncio"),
        Contender("grpc-stream", "grpc", "grpc_stream", "unix", "asyncio"),
    ]


def _bare() -> list[Contender]:
    names = ("rt-64k", "ow-64", "ow-1k", "ow-64k", "ow-1m", "ow-16m", "both-1k", "both-64k")
    unable = dict.fromkeys((*names, "memory"), _BARE)
    return [
        Contender(
            f"bare-pipe-{loop}", "bare loop", "bare", "named_pipe", loop, unable=unable
        )
        for loop in LOOPS
    ]


def _helpers() -> list[Contender]:
    return [
        Contender(
            f"{peer}-{short}", f"ipc-channel {peer}", "ipc", transport, loop, peer=peer
        )
        for peer in ("go", "node")
        for short, transport in _SHORT.items()
        for loop in ("asyncio",)
    ]


def _limits() -> list[Contender]:
    owned = [
        Contender(f"limit-{short}-owned", "limit", "blocking_owned", transport)
        for short, transport in _SHORT.items()
    ]
    return owned + [
        Contender(
            f"limit-{short}-{language}",
            "limit",
            "blocking",
            transport,
            driver=language,
            peer=language,
        )
        for short, transport in _SHORT.items()
        for language in LANGUAGES
    ]


CONTENDERS = (
    *_limits(),
    *_bare(),
    *_ours(),
    *_blocking(),
    *_original(),
    *_peers(),
    *_helpers(),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}

OURS = tuple(contender.name for contender in _ours())
PEERS = tuple(contender.name for contender in _peers())
"""The other libraries and ways, without the original and the limits."""
