"""Every case, by subject. Importing this fills the catalogue."""

from ipc_channel.conformance.cases import (
    cancel,
    connect,
    control,
    ends,
    flow,
    framing,
    lifecycle,
    limits,
    load,
    rendezvous,
)

__all__ = [
    "cancel",
    "connect",
    "control",
    "ends",
    "flow",
    "framing",
    "lifecycle",
    "limits",
    "load",
    "rendezvous",
]
