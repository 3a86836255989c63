"""The clients that are mutated: which of their code, and how a changed copy is run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is not for this system, or nothing that a testee needs: texts for people, and the
# main function of a helper.
LEFT_OUT = (
    "_other.go",
    "_windows.go",
    "_darwin.go",
    "_test.go",
    "/describe.go",
    "/main.go",
    "/main_usage.go",
    "/duplex.js",
    "/helper-usage.js",
    "/run-helper.js",
    "/spelling.js",
)
PYTHON = [
    "aio/endpoint",
    "aio/inbox",
    "aio/receiver",
    "aio/sender",
    "aio/session",
    "aio/stream",
    "aio/timing",
    "protocol/framing",
    "protocol/rendezvous",
    "protocol/session_state",
]
TRANSPORTS_OF_SERVERS = {
    *("__init__", "adopted_stream", "peer_user", "private_directory", "refusals"),
    *("registry", "tcp_listener", "tcp_protocol", "temporary_directory"),
    *("gate", "listener", "lock_file", "locked_directory", "systemd", "unix_place"),
}
NOT_OF_A_CLIENT = {  # functions and classes
    *("PosixNamedPipeChannel", "TCPSocketChannel", "UnixSocketChannel", "SocketServer"),
    *(
        "CredentialsQuery",
        "ask_credentials",
        "_place",
        "register",
        "all_types",
        "usable_types",
    ),
    *("named", "default", "_tell_who_reads", "mark_as_read_by_server"),
    *("to_environment", "check_named_pipes_exist", "warn_unclosed"),
    *("__repr__", "__getstate__", "__del__", "_name", "_state", "_describe", "_log_end"),
    *("check_loop_argument", "check_logger", "check_running", "check_loop", "_check_loop"),
    *("make_pipes", "_check_replaceable"),
    *("write_plainly", "write_held_back"),  # only older systems come there
    *("disconnect", "deserted", "abandon", "last_attempt", "closing"),
    *(
        "Is",
        "Messages",
        "_holds_something",
        "stop_delivering",
    ),  # an API's own, which no testee can show
}


@dataclass(frozen=True)
class Client:
    """What is changed, and how the testee of a copy is built and started."""

    parts: tuple[str, ...]
    files: list[str]
    build: Callable[[Path], list[str]]
    command: Callable[[Path], list[str]]


def files_in(directory: str, ending: str) -> list[str]:
    found = sorted((ROOT / directory).glob(f"*{ending}"))
    return [str(one.relative_to(ROOT)) for one in found if not str(one).endswith(LEFT_OUT)]


def python_files() -> list[str]:
    found = sorted((ROOT / "python/ipc_channel/transports").glob("*.py"))
    transports = [f"transports/{one.stem}" for one in found]
    ours = [one for one in transports if Path(one).stem not in TRANSPORTS_OF_SERVERS]
    return [f"python/ipc_channel/{name}.py" for name in [*PYTHON, *ours]]


def clients(go: str, node: str) -> dict[str, Client]:
    return {
        "go": Client(
            ("go-client",),
            files_in("go-client", ".go"),
            lambda tree: [
                *(go, "-C", f"{tree}/go-client", "build", "-o", f"{tree}/testee"),
                "./cmd/testee",
            ],
            lambda tree: [f"{tree}/testee"],
        ),
        "js": Client(
            ("js-client",),
            files_in("js-client/lib", ".js"),
            lambda tree: ["true"],
            lambda tree: [node, f"{tree}/js-client/testee.js"],
        ),
        "python": Client(
            ("python",),
            python_files(),
            lambda tree: ["true"],
            lambda tree: [
                *("env", f"PYTHONPATH={tree}/python", "PYTHONDONTWRITEBYTECODE=1"),
                *(sys.executable, "-m", "ipc_channel.conformance.python_testee"),
            ],
        ),
    }
