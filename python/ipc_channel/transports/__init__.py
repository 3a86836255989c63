"""How bytes get to the peer: one module or a few for each transport.

``registry.py`` knows them all; what stands here is the only list of them.
"""

from typing import Literal

from ipc_channel.transports.named_pipe import NAMED_PIPE
from ipc_channel.transports.registry import register
from ipc_channel.transports.tcp_socket import TCP

Transport = Literal["named_pipe", "tcp"]

register(NAMED_PIPE)
register(TCP)
