"""Every case, by subject. Importing this fills the catalogue."""

from ipc_channel.conformance.cases import (
    attempts,
    cancel,
    closing,
    connect,
    connect_pipes,
    connect_tcp,
    control,
    ends,
    flow,
    framing,
    lifecycle,
    limits,
    linger,
    load,
    refused,
    rendezvous,
)

__all__ = [
    "attempts",
    "cancel",
    "closing",
    "connect",
    "connect_pipes",
    "connect_tcp",
    "control",
    "ends",
    "flow",
    "framing",
    "lifecycle",
    "limits",
    "linger",
    "load",
    "refused",
    "rendezvous",
]
