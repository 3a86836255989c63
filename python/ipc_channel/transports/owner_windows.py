"""Which user owns the socket at the other end of a loopback connection (Windows, RDV-42).

Windows has a table of all connections, with the number of the process that made each
socket, and a process has a token, which names its user.

Between those two questions a process may end, and its number go to another process. It
may also have ended before, and have left its socket to a process that inherited it. So
an answer counts only if the process is older than the socket, and if a second look at the
table shows the same socket of the same process, and our own end still connected.

Wine does not tell when a socket was made; there the second look has to do. It tells the
process only once that has used the socket after connecting, so it is asked again.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from ipc_channel.transports.tcp_ends import MAPPED, Ends, peer_ends
from ipc_channel.users import Owner
from ipc_channel.windows import accounts, tcp_table

# MIB_TCPROW_OWNER_MODULE: state; address, port and padding of both ends; process, time.
_ROW = struct.Struct("=I4s2s2x4s2s2xIq128x")
# MIB_TCP6ROW_OWNER_MODULE: address, scope, port of both ends; state, process, time.
_ROW6 = struct.Struct("=16s4x2s2x16s4x2s2xIIq128x")
_ROWS_OFFSET = 8  # after their number, which is padded for the sake of the times
# ESTAB, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: the states of Linux' query.
_CONNECTED = frozenset((5, 6, 7, 8))


_LOOKS = 4  # at a row without a process


class _Maker(NamedTuple):
    """What made a socket."""

    process: int
    """Its number; 0 if it is not known."""
    time: int
    """When it made the socket, as a FILETIME; 0 if that is not known."""


class WindowsOwners:
    """Asks Windows which users own sockets."""

    used_table = True

    def close(self) -> None:
        pass

    def owners(self, socks: Sequence[socket.socket]) -> list[Owner]:
        """Return the owner of the other end of each of ``socks``."""
        peers = [peer_ends(sock) for sock in socks]
        wanted = {peer for peer in peers if peer is not None}
        first = _makers(wanted)
        users = {maker: _user_of(maker) for maker in set(first.values())}
        second = _search(first.keys() | {peer.mirrored() for peer in first})
        # While our own end is connected, no other connection can have its addresses.
        certain = {
            peer: users[maker]
            for peer, maker in first.items()
            if second.get(peer) == maker and peer.mirrored() in second
        }
        return [None if peer is None else certain.get(peer) for peer in peers]


def _makers(wanted: AbstractSet[Ends]) -> dict[Ends, _Maker]:
    """Return what made the sockets of these ends, as far as Windows tells."""
    found: dict[Ends, _Maker] = {}
    for _ in range(_LOOKS):
        found |= _search(wanted)
        wanted = {ends for ends in wanted if ends in found and not found[ends].process}
        if not wanted:
            break
    return {ends: maker for ends, maker in found.items() if maker.process}


def _user_of(maker: _Maker) -> Owner:
    found = accounts.user_of_process(maker.process)
    if found is None or found.created > maker.time > 0:
        return None
    return found.sid


def _search(wanted: AbstractSet[Ends]) -> dict[Ends, _Maker]:
    """Return what made those sockets of these ends that are connected."""
    found: dict[Ends, _Maker] = {}
    for whole in (False, True):
        for rows in (_rows, _rows6):
            if missing := wanted - found.keys():
                written = dict(_written(missing))
                found |= {written[e]: maker for e, maker in rows(whole) if e in written}
    return found


def _written(wanted: AbstractSet[Ends]) -> Iterator[tuple[tuple[bytes, ...], Ends]]:
    """Yield each of ``wanted`` in the forms that a table may have it in."""
    for ends in wanted:
        yield _in_table(ends, 0), ends
        if ends.local_host.startswith(MAPPED):
            yield _in_table(ends, len(MAPPED)), ends


def _in_table(ends: Ends, start: int) -> tuple[bytes, ...]:
    """Return both ends as a table has them, the addresses from byte ``start`` on."""
    ports = (port.to_bytes(2, "big") for port in (ends.local_port, ends.remote_port))
    hosts = (ends.local_host[start:], ends.remote_host[start:])
    return tuple(part for end in zip(hosts, ports, strict=True) for part in end)


def _rows(whole: bool) -> Iterator[tuple[tuple[bytes, ...], _Maker]]:
    table = tcp_table.read_tcp_table(socket.AF_INET, whole=whole)
    for state, *ends, process, time in _unpacked(_ROW, table):
        if state in _CONNECTED:
            yield tuple(ends), _Maker(process, time)


def _rows6(whole: bool) -> Iterator[tuple[tuple[bytes, ...], _Maker]]:
    table = tcp_table.read_tcp_table(socket.AF_INET6, whole=whole)
    for *ends, state, process, time in _unpacked(_ROW6, table):
        if state in _CONNECTED:
            yield tuple(ends), _Maker(process, time)


def _unpacked(row: struct.Struct, table: bytes) -> Iterator[tuple[Any, ...]]:
    if not table:
        return iter(())
    (count,) = struct.unpack_from("=I", table)
    return row.iter_unpack(
        memoryview(table)[_ROWS_OFFSET : _ROWS_OFFSET + count * row.size]
    )
