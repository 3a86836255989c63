"""Talk to a helper process in any language, over named pipes or loopback TCP."""

from ipc_channel.channel import make_ipc_channel, make_ipc_channel_client
from ipc_channel.endpoint import Options
from ipc_channel.errors import (
    BadRendezvousError,
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
    ResetError,
    TruncatedError,
    WrongLoopError,
)
from ipc_channel.framing import DEFAULT_MAX_MESSAGE_SIZE
from ipc_channel.helper import Helper
from ipc_channel.interface import PIPE_CONN_TIMEOUT, IPCChannel, IPCChannelClient
from ipc_channel.named_pipe import (
    PosixNamedPipeChannel,
    PosixNamedPipeChannelClient,
    PosixNamedPipeProtocol,
)
from ipc_channel.rendezvous import ENV_IN, ENV_OUT, Transport, from_environment
from ipc_channel.session import DEFAULT_LINGER
from ipc_channel.tcp_socket import (
    TCPSocketChannel,
    TCPSocketChannelClient,
    TCPSocketProtocol,
)

__all__ = [
    "DEFAULT_LINGER",
    "DEFAULT_MAX_MESSAGE_SIZE",
    "ENV_IN",
    "ENV_OUT",
    "PIPE_CONN_TIMEOUT",
    "BadRendezvousError",
    "ChannelClosedError",
    "ConnectInProgressError",
    "ConnectTimeoutError",
    "EmptyMessageError",
    "EndReason",
    "FrameTooLargeError",
    "Helper",
    "HelperError",
    "IPCChannel",
    "IPCChannelClient",
    "IPCChannelError",
    "LocalError",
    "MessageTooLargeError",
    "NotConnectedError",
    "Options",
    "PeerError",
    "PeerGoneError",
    "PosixNamedPipeChannel",
    "PosixNamedPipeChannelClient",
    "PosixNamedPipeProtocol",
    "ResetError",
    "TCPSocketChannel",
    "TCPSocketChannelClient",
    "TCPSocketProtocol",
    "Transport",
    "TruncatedError",
    "WrongLoopError",
    "from_environment",
    "make_ipc_channel",
    "make_ipc_channel_client",
]
