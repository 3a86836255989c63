"""How bytes get to the peer: each transport has one module or several.

This file is the only list of the transports; ``registry.py`` looks them up.
"""

from typing import Literal

from ipc_channel.transports.named_pipe import NAMED_PIPE
from ipc_channel.transports.registry import register
from ipc_channel.transports.tcp_socket import TCP
from ipc_channel.transports.unix_socket import UNIX

Transport = Literal["named_pipe", "unix", "tcp"]

register(NAMED_PIPE)
register(UNIX)
register(TCP)
