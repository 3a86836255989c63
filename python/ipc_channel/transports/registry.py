"""Which transports there are, what each can do, and which one two strings mean.

A transport is added by its module and one call of :func:`register`: the factories,
the conformance suite and the tests ask here.
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
    """Returns what two strings lead to; raises BadRendezvousError if they never can."""
    server: Callable[..., IPCChannel]
    """Makes the server: called with a logger, a loop, and options."""
    client: Callable[..., IPCChannelClient]
    """Makes the client: called with two strings, a logger, a loop, and options."""
    default_on: tuple[str, ...] = ()
    """Values of ``sys.platform`` on which it is the default."""
    single_stream: bool
    """Whether both directions are one connection, and both strings the same."""
    can_reset: bool
    """Whether the kernel tells a reset from an end."""
    drains_before_close: bool
    """Whether closing with unread input would lose output (SES-60)."""
    peer_credentials: bool
    """Whether the server looks whose a peer is, so that other users may be allowed."""
    own_rules: range = range(0)
    """The numbers of the RDV requirements that are about this transport only."""


_TYPES: dict[str, TransportType] = {}


def register(transport: TransportType) -> None:
    """Add a transport; its name must be new."""
    if transport.name in _TYPES:
        raise ValueError(f"there is a transport {transport.name!r} already")
    _TYPES[transport.name] = transport


def all_types() -> Iterator[TransportType]:
    """Yield every transport, in the order in which they were registered."""
    yield from _TYPES.values()


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


def parse(in_path: str, out_path: str) -> tuple[TransportType, Address]:
    """Return the transport that two rendezvous strings mean, and what they lead to.

    Raises BadRendezvousError, whose text shows the refused string, or TypeError.
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
