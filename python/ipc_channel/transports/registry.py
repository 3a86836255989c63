"""The transports, their capabilities, and which of them two rendezvous strings name.

To add a transport, write its module and call :func:`register` once. The factories,
the conformance suite and the tests look it up here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ipc_channel.channel import IPCChannel, IPCChannelClient
from ipc_channel.protocol.rendezvous import Address, check_strings, refusal


@dataclass(frozen=True, kw_only=True)
class TransportType:
    """One transport: its rendezvous strings, its channels, and its capabilities."""

    name: str
    form: str
    """What its strings look like, for errors."""
    recognises: Callable[[str], bool]
    """Whether a string can only be meant for this transport."""
    parse: Callable[[str, str], Address]
    """Returns the address that two strings name; raises BadRendezvousError if invalid."""
    server: Callable[..., IPCChannel]
    """Makes the server: called with a logger, a loop, and options."""
    client: Callable[..., IPCChannelClient]
    """Makes the client: called with two strings, a logger, a loop, and options."""
    default_on: tuple[str, ...] = ()
    """Values of ``sys.platform`` on which this transport is the default."""
    for_helpers_on: tuple[str, ...] = ()
    """Values of ``sys.platform`` on which a helper is reached over it by default."""
    single_stream: bool
    """Whether both directions are one connection, and both strings the same."""
    can_reset: bool
    """Whether the kernel tells a reset from an end."""
    drains_before_close: bool
    """Whether closing with unread input would lose output (SES-60)."""
    peer_credentials: bool
    """Whether the server checks the user of a peer, and can therefore allow other users."""
    server_options: frozenset[str] = frozenset()
    """The names of options that its server takes, beyond those of every channel."""
    client_options: frozenset[str] = frozenset()
    """The names of options that its client takes, beyond those of every channel."""
    own_rules: range = range(0)
    """The numbers of the RDV requirements that apply to this transport only."""


_TYPES: dict[str, TransportType] = {}


def register(transport: TransportType) -> None:
    """Add a transport; its name must be new."""
    if transport.name in _TYPES:
        raise ValueError(
            f"transport {transport.name!r} is registered already: choose another name"
        )
    _TYPES[transport.name] = transport


def all_types() -> Iterator[TransportType]:
    """Yield every transport, in the order in which they were registered."""
    yield from _TYPES.values()


def usable_types() -> Iterator[TransportType]:
    """Yield the transports that this system has: on Windows only TCP."""
    return (one for one in all_types() if sys.platform != "win32" or one.name == "tcp")


def named(name: object) -> TransportType:
    """Return the transport of that name, or raise ValueError."""
    if not isinstance(name, str) or (found := _TYPES.get(name)) is None:
        raise ValueError(
            f"transport is {name!r}, not {' or '.join(map(repr, _TYPES))};"
            " leave it out for the default of this system"
        )
    return found


def default() -> TransportType:
    """Return the transport that ``make_ipc_channel`` picks on this platform."""
    types = list(_TYPES.values())
    return next((one for one in types if sys.platform in one.default_on), types[-1])


def for_helpers() -> TransportType:
    """Return the transport that ``Helper`` picks on this platform."""
    types = _TYPES.values()
    found = (one for one in types if sys.platform in one.for_helpers_on)
    return next(found, default())


def parse(in_path: str, out_path: str) -> tuple[TransportType, Address]:
    """Return the transport that two rendezvous strings name, and their address.

    Raises TypeError, or BadRendezvousError with the refused string in its text.
    """
    check_strings(in_path, out_path)
    ours, other = _type_of(in_path), _type_of(out_path)
    if ours is not other:
        why = f"the first is for {ours.name} and the second for {other.name}"
        raise refusal(why, in_path, out_path)
    return ours, ours.parse(in_path, out_path)


def _type_of(text: str) -> TransportType:
    for transport in _TYPES.values():
        if transport.recognises(text):
            return transport
    forms = " nor ".join(one.form for one in _TYPES.values())
    raise refusal(f"neither {forms}", text)
