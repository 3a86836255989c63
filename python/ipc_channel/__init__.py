"""Talk to a helper process in any language, over Unix sockets, named pipes or TCP.

A service starts a helper, and both exchange whole messages, which are bytes::

    >>> import asyncio, sys
    >>> from ipc_channel import Helper

    >>> ECHO = '''
    ... from ipc_channel import run_helper
    ...
    ... async def main(channel):
    ...     async for message in channel:
    ...         await channel.write(message)
    ...
    ... run_helper(main)
    ... '''

    >>> async def main():
    ...     async with Helper([sys.executable, "-c", ECHO]) as channel:
    ...         await channel.write(b"hello")
    ...         print(await channel.read())

    >>> asyncio.run(main())
    b'hello'

What to look at next, with ``help(ipc_channel.Helper)`` and so on:

- ``Helper`` starts the process, meets it, and ends it; ``Supervisor`` starts it again
  whenever it is lost, and tells of it with a ``SupervisorEvent``.
- ``HelperPool`` runs several helpers, and shares requests among them: ``call`` and ``map``;
  ``PoolCounters`` and ``HelperCounters`` tell what it has done.
- ``RequestChannel`` sends requests over one channel, and ``serve`` answers them. A handler
  that raises RequestError chooses the error that the caller gets. With a ``Codec``, such as
  ``JSON``, requests and answers are objects.
- ``exit_on_signals`` has SIGTERM and SIGHUP end a service and its helpers in order.
- ``run_helper`` is the main function of a helper in Python.
- ``make_ipc_channel`` makes the server of a channel, and has every option;
  ``make_ipc_channel_client`` and ``from_environment`` are for the helper.
- ``IPCChannelClient`` documents what both ends can do: ``connect``, ``read``,
  ``write``, ``close``, ``disconnect``; ``IPCChannel`` adds the server's two paths.
- ``ipc_channel.sync``, a module to import, has the same names for programs without
  asyncio.
- ``EndReason`` lists how a session can end. Every error derives from
  ``IPCChannelError``; ``help(ipc_channel.errors)`` shows the tree.
- You rarely need the classes of a single transport, such as ``TCPSocketChannel``: the
  two ``make_`` functions construct them.

Sizes are in bytes and times in seconds. Docstrings cite pages of the specification,
such as spec/session.md: an installed package has them in its folder ``spec``, and
https://github.com/ipc-channel/ipc-channel/tree/main/spec shows them.
"""

from ipc_channel.aio.request_channel import RequestChannel, serve
from ipc_channel.channel import PIPE_CONN_TIMEOUT, IPCChannel, IPCChannelClient
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
    WrongLoopError,
    WrongProcessError,
)
from ipc_channel.factory import make_ipc_channel, make_ipc_channel_client
from ipc_channel.helper.events import SupervisorEvent
from ipc_channel.helper.helper import Helper
from ipc_channel.helper.result import HelperResult
from ipc_channel.helper.supervisor import Supervisor
from ipc_channel.helper_main import run_helper
from ipc_channel.options import DEFAULT_LINGER, Options
from ipc_channel.pool.counters import HelperCounters, PoolCounters
from ipc_channel.pool.helper_pool import HelperPool
from ipc_channel.protocol.framing import DEFAULT_MAX_MESSAGE_SIZE
from ipc_channel.protocol.rendezvous import ENV_IN, ENV_OUT, from_environment
from ipc_channel.service_signals import exit_on_signals
from ipc_channel.transports import Transport
from ipc_channel.transports.named_pipe import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    PosixNamedPipeProtocol,
)
from ipc_channel.transports.tcp_protocol import TCPSocketProtocol
from ipc_channel.transports.tcp_socket import TCPSocketChannel, TCPSocketChannelClient
from ipc_channel.transports.unix_socket import UnixSocketChannel, UnixSocketChannelClient

__version__ = "0.1.0"

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
    "PosixNamedPipeProtocol",
    "RequestChannel",
    "RequestError",
    "ResetError",
    "SessionInterruptedError",
    "Supervisor",
    "SupervisorEvent",
    "TCPSocketChannel",
    "TCPSocketChannelClient",
    "TCPSocketProtocol",
    "Transport",
    "TruncatedError",
    "UnansweredError",
    "UnfinishedWriteError",
    "UnixSocketChannel",
    "UnixSocketChannelClient",
    "WrongLoopError",
    "WrongProcessError",
    "exit_on_signals",
    "from_environment",
    "make_ipc_channel",
    "make_ipc_channel_client",
    "run_helper",
    "serve",
]
