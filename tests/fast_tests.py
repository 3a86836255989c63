"""The tests that take little time."""

from __future__ import annotations

from collections.abc import Sequence

from named_tests import files_of

# The tests of the package itself; of blocking channels, those that signals have a part in.
ALL = (
    *("", "protocol/", "aio/", "transports/", "helper/"),
    *("sync/ctrl_c", "sync/request_ends", "sync/signals", "sync/slices"),
)
# Not fast, or the same wherever they run. aio/test_interrupts.py also raises where no signal
# handler could, such as between the last step of a block and the release of its lock: it
# wants an interpreter of its own.
LEFT_OUT = (
    *("protocol/", "aio/cancellation", "aio/interrupts", "aio/session_model", "aio/waiter"),
    *("helper/cancel", "helper/interrupt", "helper/guard_interrupt", "helper/many"),
    *("helper/supervisor_bad_helpers", "helper/supervisor_cancel"),
    *("helper/supervisor_events", "helper/supervisor_health"),
    *("helper/supervisor_signals", "helper/supervisor_stop"),
    *("transports/registry", "transports/umask"),
    *(
        "client_readmes",
        "digest_pool",
        "help",
        "how_to_requests",
        "layers",
        "pairs",
        "readme",
        "requirements",
        "windows_jobs",
    ),
)
# What a session does once it is connected: few surroundings can change some of that.
SESSIONS = (
    *("aio/clock", "aio/close", "aio/endpoint", "aio/faults", "aio/loops", "aio/receiver"),
    *("aio/request", "aio/sender", "aio/standstill", "aio/stream"),
    *("transports/connect_races", "transports/passers_by"),
    *("transports/peer_user", "transports/streams", "transports/swapped_pipes"),
    *("transports/tcp_listener", "transports/tcp_socket", "transports/unix_path_races"),
    *("transports/unix_macos", "transports/unix_client", "transports/unix_removed"),
    *("browser_bytes", "channel", "crash", "fork", "messages_of_errors", "use"),
)


def fast_tests(*, keeping: Sequence[str] = ()) -> list[str]:
    """Return their files; of the tests of connected sessions, only those to keep."""
    left_out = set(files_of(*LEFT_OUT, *SESSIONS)) - set(files_of(*keeping))
    return [file for file in files_of(*ALL) if file not in left_out]
