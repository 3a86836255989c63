"""A helper that sends every message back, without asyncio."""

import sys

from ipc_channel import EndReason
from ipc_channel.sync import from_environment, make_ipc_channel_client

with make_ipc_channel_client(*from_environment()) as channel:
    for message in channel:
        channel.write(message)
if channel.end_reason not in (EndReason.CLEAN, EndReason.EOF):
    sys.exit(f"the channel ended: {channel.end_reason}")
