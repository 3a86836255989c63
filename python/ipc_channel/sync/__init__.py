"""Channels and helpers for programs without asyncio.

The same names and arguments as in :mod:`ipc_channel`, with methods that block::

    >>> import sys
    >>> from ipc_channel.sync import Helper

    >>> ECHO = '''
    ... from ipc_channel.sync import run_helper
    ...
    ... def main(channel):
    ...     for message in channel:
    ...         channel.write(message)
    ...
    ... run_helper(main)
    ... '''

    >>> with Helper([sys.executable, "-c", ECHO]) as channel:
    ...     channel.write(b"hello")
    ...     print(channel.read())
    b'hello'

``read``, ``write`` and ``close`` take a ``timeout`` in seconds, and raise CallTimeoutError,
a TimeoutError. ``RequestChannel`` sends requests, and ``serve`` answers them in threads,
whose handlers ask ``request_cancelled`` now and then; ``HelperPool`` shares requests among
several helpers. Any number of threads may use a channel, a RequestChannel or a pool at
once. One end of a channel may use this module, and the other one asyncio, or another
language. The errors are those of
:mod:`ipc_channel`.
"""

from ipc_channel.channel import PIPE_CONN_TIMEOUT
from ipc_channel.codec import JSON, Codec
from ipc_channel.errors import (
    BadAnswerError,
    BadMessageError,
    BadRendezvousError,
    CallTimeoutError,
    ChannelClosedError,
    ConnectInProgressError,
    ConnectTimeoutError,
    EmptyMessageError,
    EndReason,
    FrameTooLargeError,
    HelperError,
    IPCChannelError,
    LocalError,
    MessageTooLargeError,
    NotConnectedError,
    PeerError,
    PeerGoneError,
    RequestError,
    ResetError,
    SessionInterruptedError,
    TruncatedError,
    UnansweredError,
    UnfinishedWriteError,
    WrongProcessError,
)
from ipc_channel.helper.events import SupervisorEvent
from ipc_channel.helper.result import HelperResult
from ipc_channel.options import DEFAULT_LINGER, Options
from ipc_channel.pool.counters import HelperCounters, PoolCounters
from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE
from ipc_channel.protocol.rendezvous import ENV_IN, ENV_OUT, from_environment
from ipc_channel.service_signals import exit_on_signals
from ipc_channel.sync.channel import IPCChannel, IPCChannelClient
from ipc_channel.sync.factory import make_ipc_channel, make_ipc_channel_client
from ipc_channel.sync.helper import Helper, HelperProcess
from ipc_channel.sync.helper_main import run_helper
from ipc_channel.sync.pool import HelperPool
from ipc_channel.sync.request_channel import RequestChannel, serve
from ipc_channel.sync.request_handling import request_cancelled
from ipc_channel.sync.supervisor import Supervisor
from ipc_channel.sync.transports import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    TCPSocketChannel,
    TCPSocketChannelClient,
    UnixSocketChannel,
    UnixSocketChannelClient,
)
from ipc_channel.transports import Transport

__all__ = [
    "DEFAULT_LINGER",
    "DEFAULT_MAX_MESSAGE_SIZE",
    "ENV_IN",
    "ENV_OUT",
    "JSON",
    "PIPE_CONN_TIMEOUT",
    "BadAnswerError",
    "BadMessageError",
    "BadRendezvousError",
    "CallTimeoutError",
    "ChannelClosedError",
    "Codec",
    "ConnectInProgressError",
    "ConnectTimeoutError",
    "EmptyMessageError",
    "EndReason",
    "FrameTooLargeError",
    "Helper",
    "HelperCounters",
    "HelperError",
    "HelperPool",
    "HelperProcess",
    "HelperResult",
    "IPCChannel",
    "IPCChannelClient",
    "IPCChannelError",
    "LocalError",
    "MessageTooLargeError",
    "NotConnectedError",
    "Options",
    "PeerError",
    "PeerGoneError",
    "PoolCounters",
    "PosixNamedPipeChannel",
    "PosixNamedPipeChannelClient",
    "RequestChannel",
    "RequestError",
    "ResetError",
    "SessionInterruptedError",
    "Supervisor",
    "SupervisorEvent",
    "TCPSocketChannel",
    "TCPSocketChannelClient",
    "Transport",
    "TruncatedError",
    "UnansweredError",
    "UnfinishedWriteError",
    "UnixSocketChannel",
    "UnixSocketChannelClient",
    "WrongProcessError",
    "exit_on_signals",
    "from_environment",
    "make_ipc_channel",
    "make_ipc_channel_client",
    "request_cancelled",
    "run_helper",
    "serve",
]
