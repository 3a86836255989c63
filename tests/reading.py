"""What a channel reads."""

from __future__ import annotations

from ipc_channel import (
    IPCChannelClient,
    IPCChannelError,
)


async def read_to_end(channel: IPCChannelClient) -> tuple[list[bytes], str | None]:
    """Return all messages and the code of the error that came after them."""
    messages = []
    try:
        while (message := await channel.read()) is not None:
            messages.append(message)
    except IPCChannelError as error:
        return messages, error.code
    return messages, None
