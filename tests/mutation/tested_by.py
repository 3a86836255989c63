"""Which tests cover which module of the package, named as in ``named_tests.py``.

The modules of blocking channels are named with their folder, as others have the same names.
"""

from __future__ import annotations

from pathlib import Path

from named_tests import ROOT

PACKAGE = Path("python", "ipc_channel")
_STARTS = ["helper/helper", "helper/dying", "helper/cancel", "helper/end"]
TESTS = {
    "adopted_stream": ["transports/streams", "transports/tcp_socket"],
    "advice": ["helper/spawn", "messages_of_errors"],
    "by_hand": ["helper/by_hand"],
    "channel": ["channel", "use", "aio/endpoint"],
    "cli": ["help"],
    "closed": ["channel"],
    "codec": ["codec"],
    "child": ["helper/reaping", "helper/end", "helper/interrupt"],
    "command": ["helper/spawn", "helper/helper", "helper/dying", "messages_of_errors"],
    "credentials": ["transports/credentials", "transports/unix_users"],
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
    "events": ["helper/supervisor_events", "helper/supervisor"],
    "factory": ["channel", "transports/registry", "messages_of_errors"],
    "files": ["helper/files", "helper/output"],
    "exchange": ["aio/request", "sync/request"],
    "fork": ["fork"],
    "framing": ["protocol/framing"],
    "gate": ["transports/unix_users", "transports/tcp_listener"],
    "guard": ["helper/guard"],
    "guard_shell": ["helper/guard"],
    **{name: ["aio/request"] for name in ("eager", "handling")},
    **{
        name: ["pool/"]
        for name in (
            *("balancer", "calls", "counters", "helper_pool"),
            *("makers", "mapping", "place", "places", "recycling"),
        )
    },
    "health": ["helper/supervisor_health", "helper/supervisor_use"],
    "helper": [*_STARTS, "helper/service"],
    "helper_main": ["helper_main"],
    "helper_side": ["helper_main", "interop/run_helper"],
    "helper_process": [*_STARTS, "helper/result"],
    "inbox": ["aio/inbox", "aio/receiver", "aio/waiter", "aio/interrupts"],
    "introspection": ["help", "channel"],
    "large_messages": ["aio/sender", "aio/close", "messages_of_errors"],
    "launch": ["helper/launch"],
    "launcher": ["helper/launch"],
    "lifecycle": [*_STARTS, "helper/result"],
    "lines": ["helper/lines", "helper/output", "helper/result"],
    "listener": [
        "transports/tcp_listener",
        "transports/unix_removed",
        "transports/unix_socket",
        "transports/unix_users",
        "transports/systemd",
        "transports/peer_user",
        "use",
    ],
    "lock_file": ["transports/lock_file", "transports/unix_path"],
    "locked_directory": [
        "transports/private_directory",
        "transports/stale_directories",
        "transports/umask",
        "transports/unix_place",
        "transports/unix_removed",
    ],
    "log": ["aio/faults"],
    "names": ["helper/names"],
    "named_pipe": [
        "transports/named_pipe",
        "transports/pipe_refusals",
        "transports/passers_by",
        "transports/connect_races",
        "aio/endpoint",
        "use",
        "aio/sender",
    ],
    "options": [
        "channel",
        "messages_of_errors",
        "use",
        "transports/peer_user",
        "transports/unix_path_options",
    ],
    "owner_linux": ["transports/peer_user", "transports/tcp_listener"],
    "output": ["helper/output", "helper/result"],
    "output_thread": ["helper/output_thread", "sync/helper_output"],
    "owner_windows": ["transports/owner_windows"],
    "peer_user": ["transports/peer_user", "transports/owner_windows"],
    "pipe_address": [
        *("protocol/rendezvous", "transports/named_pipe"),
        *("transports/passers_by", "messages_of_errors"),
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
    "pipe_files": [f"transports/{one}" for one in ("precious", "pipe_ref", "swapped")],
    "pipe_stream": [
        "transports/named_pipe",
        "transports/passers_by",
        "aio/endpoint",
        "use",
        "aio/sender",
        "aio/close",
    ],
    "pipe_write": ["transports/sigpipe"],
    "posix_output": ["helper/posix_output", "helper/output", "sync/helper_output"],
    "posix_process": [
        f"helper/{one}" for one in ("process", "reaping", "end", "group", "interrupt")
    ],
    **{f"request_{name}": ["aio/request"] for name in ("channel", "line", "messages")},
    "private_directory": [
        f"transports/{one}" for one in ("private_directory", "stale_directories", "umask")
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
    "readiness": ["aio/selector_thread", "aio/loops"],
    "refusals": ["transports/tcp_listener", "transports/owner_windows"],
    "registry": ["transports/registry", "protocol/rendezvous", "messages_of_errors"],
    "recorder": ["helper/output", "helper/result", "helper/lines"],
    "result": ["helper/lines", "helper/result"],
    "rendezvous": [
        "protocol/rendezvous",
        "transports/named_pipe",
        "transports/pipe_refusals",
    ],
    "selector_thread": ["aio/selector_thread"],
    "restarts": ["helper/supervisor_use", "helper/supervisor"],
    "sender": ["aio/sender", "aio/close", "use", "transports/tcp_socket", "aio/faults"],
    "service_signals": ["service_signals"],
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
    "sinks": ["helper/output", "helper/sinks"],
    "socket_channel": [
        "transports/unix_socket",
        "transports/unix_client",
        "transports/tcp_socket",
        "transports/tcp_listener",
        "use",
    ],
    "socket_stream": [
        "transports/tcp_socket",
        "transports/tcp_listener",
        "transports/streams",
        "aio/close",
        "aio/endpoint",
        "use",
        "aio/receiver",
    ],
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
    "sync/helper_main": ["helper_main"],  # runs each test with both kinds of helpers
    "standstill": ["aio/standstill"],
    "story": ["helper/supervisor"],
    "supervised_life": ["helper/supervisor"],
    "supervisor": ["helper/supervisor"],
    **{
        f"sync/{module}": [f"sync/{name}" for name in names.split()]
        for module, names in {
            "caller_loop": "caller_loop driver messages threads",
            "channel": "messages many ends timeouts dropped",
            "driver": "driver threads signals dropped interrupts fork in_asyncio",
            "factory": "names messages dropped",
            "loop_thread": "pool",
            "mapping": "pool",
            "pool": "pool names",
            "request_channel": "request",
            "request_handling": "request",
            "request_line": "request",
            "request_turn": "request",
            "helper": "helper",
            "poller": "caller_loop messages fork",
            "reading": "races messages ends timeouts threads signals interrupts",
            "slices": "slices",
            "spinning": "caller_loop messages",
            "supervisor": "supervisor names",
            "transports": "names messages dropped",
            "waker": "driver threads dropped",
            "writing": "many races messages timeouts threads signals interrupts ends",
        }.items()
    },
    "systemd": ["transports/systemd", "transports/unix_path"],
    "tcp_address": ["protocol/rendezvous", "transports/tcp_socket", "messages_of_errors"],
    "tcp_ends": ["transports/peer_user", "transports/owner_windows"],
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
    "temporary_directory": ["transports/temporary_directory", "transports/unix_place"],
    "timing": ["aio/stream", "aio/clock", "aio/endpoint"],
    "transport_stream": ["transports/streams"],
    "unix_address": ["transports/unix_address", "protocol/rendezvous"],
    "unix_connector": ["transports/unix_client", "transports/unix_users"],
    "unix_listener": ["transports/unix_removed", "transports/unix_users", "use"],
    "unix_place": [
        "transports/unix_place",
        "transports/unix_path",
        "transports/unix_removed",
        "transports/unix_socket",
    ],
    "unix_socket": [
        "transports/unix_socket",
        "transports/unix_client",
        "transports/unix_users",
        "transports/unix_removed",
        "transports/unix_path",
        "transports/unix_macos",
    ],
    "unix_stream": ["transports/unix_socket", "use", "aio/close"],
    "usage": ["use", "aio/loops", "transports/streams", "messages_of_errors"],
    "users": ["transports/peer_user", "transports/unix_users"],
    "waiter": ["aio/waiter", "aio/receiver", "use"],
    "watch": ["helper/process", "helper/reaping"],
}
# Sockets are where the loops differ, and when a task's callbacks come.
ON_UVLOOP = {
    *("receiver", "stream", "socket_stream", "socket_channel", "listener", "endpoint"),
    *("tcp_socket", "unix_listener"),
}


def modules() -> list[Path]:
    """Return the package's modules, but those of the conformance suite and of Windows.

    The suite has faults of its own, and what calls Windows is tested there only.
    """
    own = (path.relative_to(ROOT) for path in (ROOT / PACKAGE).rglob("*.py"))
    left_out = {"conformance", "windows", "windows_process.py", "windows_output.py"}
    return [path for path in own if not left_out & set(path.parts)]


def source_of(module: str) -> Path:
    """Return where a module is, in a checkout or a copy."""
    (found,) = (path for path in modules() if name_of(path) == module)
    return found


def name_of(path: Path) -> str:
    """Return the name of the module in this file."""
    return f"sync/{path.stem}" if "sync" in path.parts else path.stem
