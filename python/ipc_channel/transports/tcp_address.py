"""The rendezvous strings of loopback TCP (spec/rendezvous.md, "Strings")."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ipc_channel.protocol.rendezvous import refusal

_FORM = re.compile(r"(?:(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):)?(?P<port>[0-9]+)")


@dataclass(frozen=True)
class TCPAddress:
    """A loopback address; ``host`` is an address literal."""

    host: str
    port: int
    transport: str = "tcp"


def recognises(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def parse(in_path: str, out_path: str) -> TCPAddress:
    """Return the address that two strings name; raise BadRendezvousError if invalid."""
    address = _parse(in_path)
    if in_path != out_path:
        _parse(out_path)
        raise refusal("TCP has one string for both directions", in_path, out_path)
    return address


def _parse(text: str) -> TCPAddress:
    match = _FORM.fullmatch(text)
    if match is None:
        raise refusal("not a TCP address: PORT, HOST:PORT or [HOST]:PORT", text)
    digits = match["port"]
    if digits.startswith("0") or len(digits) > 5 or int(digits) > 65535:
        raise refusal("a port is 1 to 65535, without leading zeros", text)
    host = match["v6"] if match["v6"] is not None else match["host"]
    return TCPAddress("127.0.0.1" if host is None else _loopback(host, text), int(digits))


def _loopback(host: str, text: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    if host == "::1" and text.startswith("["):
        return host
    try:
        if ipaddress.IPv4Address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise refusal("the host is neither localhost nor 127.x.x.x nor [::1]", text)
