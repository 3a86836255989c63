"""Faults at system calls that fail with an error that the specification does not name."""

from __future__ import annotations

import errno

from conformance.faults import fault
from ipc_channel.aio.receiver import Receiver
from ipc_channel.aio.sender import Sender
from ipc_channel.errors import EndReason
from ipc_channel.protocol import session_state
from ipc_channel.protocol.session_state import Event, Phase
from ipc_channel.transports import tcp_socket, unix_connector


@fault("connect/unknown-error")
def gives_up_over_tcp_at_an_unknown_error() -> None:
    tcp_socket.LACKING += (errno.EHOSTUNREACH,)


@fault("connect/unknown-error")
def gives_up_over_unix_sockets_at_an_unknown_error() -> None:
    unix_connector.LACKING += (errno.EHOSTUNREACH,)


@fault("ends/failed-read")
def takes_a_failed_read_for_an_end() -> None:
    def on_error(self: Receiver, cause: OSError) -> None:
        self.decoder.feed_eof()
        self._on_stream_end()

    Receiver._on_error = on_error


@fault("ends/failed-read")
def writes_on_over_a_socket_after_a_failed_read() -> None:
    failed = {Event.RESET_ON_READ}
    session_state.TABLE[Phase.OPEN][Event.RESET_ON_READ] = (Phase.ENDED, EndReason.RESET)
    session_state._ENDS_WRITING -= failed
    session_state._ENDS_SENDING -= failed


@fault("ends/failed-read")
def sends_the_close_frame_after_a_failed_read() -> None:
    session_state._ENDS_SENDING -= {Event.RESET_ON_READ}


@fault("flow/failed-write")
def takes_every_failed_write_for_a_reset() -> None:
    real = Sender.on_error

    def on_error(self: Sender, cause: OSError) -> None:
        real(self, ConnectionResetError(*cause.args))

    Sender.on_error = on_error


@fault("flow/failed-write")
def sends_what_a_failed_write_has_left() -> None:
    session_state._ENDS_SENDING -= {Event.PEER_GONE_ON_WRITE}
