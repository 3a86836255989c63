"""Which tests cover which module of the package, named as in ``named_tests.py``."""

from __future__ import annotations

from pathlib import Path

from named_tests import ROOT

PACKAGE = Path("python", "ipc_channel")
TESTS = {
    "adopted_stream": ["transports/streams", "transports/tcp_socket"],
    "advice": ["helper/spawn", "messages_of_errors"],
    "channel": ["channel", "use", "aio/endpoint"],
    "cli": ["help"],
    "command": ["helper/spawn", "helper/helper", "helper/dying", "messages_of_errors"],
    "endpoint": [
        "aio/endpoint",
        "transports/connect_races",
        "aio/loops",
        "transports/tcp_listener",
        "use",
        "aio/close",
        "channel",
        "transports/streams",
        "helper/helper",
        "helper/dying",
    ],
    "errors": ["channel", "messages_of_errors", "protocol/session_state"],
    "factory": ["channel", "transports/registry", "messages_of_errors"],
    "fork": ["fork"],
    "framing": ["protocol/framing"],
    "helper": [
        "helper/helper",
        "helper/dying",
        "helper/cancel",
        "helper/end",
        "helper/service",
    ],
    "helper_process": ["helper/helper", "helper/dying", "helper/cancel", "helper/end"],
    "inbox": ["aio/inbox", "aio/receiver", "aio/waiter", "aio/interrupts"],
    "introspection": ["help", "channel"],
    "large_messages": ["aio/sender", "aio/close", "messages_of_errors"],
    "log": ["aio/faults"],
    "named_pipe": [
        "transports/named_pipe",
        "transports/pipe_refusals",
        "transports/passers_by",
        "transports/connect_races",
        "aio/endpoint",
        "use",
        "aio/sender",
    ],
    "options": ["channel", "messages_of_errors", "use", "transports/peer_user"],
    "peer_user": ["transports/peer_user", "transports/tcp_listener"],
    "pipe_address": [
        "protocol/rendezvous",
        "transports/named_pipe",
        "transports/passers_by",
        "messages_of_errors",
    ],
    "pipe_connector": [
        "transports/named_pipe",
        "transports/passers_by",
        "transports/connect_races",
        "transports/pipe_refusals",
        "transports/private_directory",
        "transports/swapped_pipes",
        "aio/endpoint",
    ],
    "pipe_files": [
        "transports/precious_files",
        "transports/pipe_refusals",
        "transports/swapped_pipes",
    ],
    "pipe_stream": [
        "transports/named_pipe",
        "transports/passers_by",
        "aio/endpoint",
        "use",
        "aio/sender",
        "aio/close",
    ],
    "pipe_write": ["transports/sigpipe"],
    "private_directory": [
        "transports/private_directory",
        "transports/stale_directories",
        "transports/umask",
    ],
    "process": [
        "helper/process",
        "helper/reaping",
        "helper/end",
        "helper/group",
        "helper/interrupt",
    ],
    "receiver": [
        "aio/receiver",
        "aio/close",
        "transports/streams",
        "aio/sender",
        "transports/tcp_socket",
        "use",
        "aio/endpoint",
    ],
    "refusals": ["transports/tcp_listener"],
    "registry": ["transports/registry", "protocol/rendezvous", "messages_of_errors"],
    "rendezvous": [
        "protocol/rendezvous",
        "transports/named_pipe",
        "transports/pipe_refusals",
    ],
    "sender": ["aio/sender", "aio/close", "use", "transports/tcp_socket", "aio/faults"],
    "session": [
        "aio/close",
        "use",
        "aio/receiver",
        "aio/sender",
        "transports/tcp_socket",
        "transports/named_pipe",
        "channel",
        "aio/endpoint",
        "aio/loops",
        "transports/streams",
    ],
    "session_state": ["protocol/session_state", "aio/close", "aio/receiver"],
    "spawn": ["helper/spawn", "helper/interrupt"],
    "start": ["helper/helper", "helper/dying", "helper/cancel", "messages_of_errors"],
    "status": ["aio/endpoint", "use", "aio/loops"],
    "stream": [
        "aio/stream",
        "transports/passers_by",
        "aio/endpoint",
        "aio/close",
        "aio/sender",
        "aio/receiver",
        "transports/tcp_socket",
        "use",
    ],
    "tcp_address": ["protocol/rendezvous", "transports/tcp_socket", "messages_of_errors"],
    "tcp_listener": ["transports/tcp_listener", "transports/peer_user", "use"],
    "tcp_protocol": ["transports/streams", "channel", "messages_of_errors"],
    "tcp_socket": [
        "transports/tcp_socket",
        "transports/connect_races",
        "transports/tcp_listener",
        "transports/streams",
        "aio/endpoint",
        "use",
        "channel",
        "transports/peer_user",
    ],
    "tcp_stream": [
        "transports/tcp_socket",
        "transports/tcp_listener",
        "transports/streams",
        "aio/close",
        "aio/endpoint",
        "use",
        "aio/receiver",
    ],
    "temporary_directory": ["transports/temporary_directory"],
    "timing": ["aio/stream", "aio/clock", "aio/endpoint"],
    "usage": ["use", "aio/loops", "transports/streams", "messages_of_errors"],
    "users": ["transports/peer_user"],
    "waiter": ["aio/waiter", "aio/receiver", "use"],
    "windows_process": ["helper/process"],
}
# Sockets are where the loops differ, and when a task's callbacks come.
ON_UVLOOP = {"receiver", "stream", "tcp_stream", "tcp_socket", "tcp_listener", "endpoint"}


def modules() -> list[Path]:
    """Return the package's modules; the conformance suite has faults of its own."""
    own = (path.relative_to(ROOT) for path in (ROOT / PACKAGE).rglob("*.py"))
    return [path for path in own if "conformance" not in path.parts]


def source_of(module: str) -> Path:
    """Return where a module is, in a checkout or a copy."""
    (found,) = (path for path in modules() if path.stem == module)
    return found
