"""A helper that answers each message with its SHA-256, without asyncio."""

import hashlib
import sys

from ipc_channel import EndReason
from ipc_channel.sync import from_environment, make_ipc_channel_client

with make_ipc_channel_client(*from_environment()) as channel:
    for message in channel:
        channel.write(hashlib.sha256(message).hexdigest().encode())
if channel.end_reason not in (EndReason.CLEAN, EndReason.EOF):
    sys.exit(f"the channel ended: {channel.end_reason}")
