"""Two blocking channels that are connected, over the transport of the system."""

from __future__ import annotations

import threading

from ipc_channel.sync import (
    IPCChannel,
    IPCChannelClient,
    make_ipc_channel,
    make_ipc_channel_client,
)


def pair() -> tuple[IPCChannel, IPCChannelClient]:
    server = make_ipc_channel()
    client = make_ipc_channel_client(server.out_path, server.in_path)
    connecting = threading.Thread(target=client.connect)
    connecting.start()
    assert server.connect()
    connecting.join()
    return server, client
