"""Faults of how a client reads its two strings."""

from __future__ import annotations

import os
from collections.abc import Callable

from conformance.faults import fault
from ipc_channel.conformance import python_testee
from ipc_channel.conformance.python_testee import Testee, Told


@fault("rendezvous/port-leading-zero")
def takes_any_number_for_a_port() -> None:
    change_strings(lambda text: str(int(text)) if text.isdigit() else text)


@fault("rendezvous/port-then-carriage-return")
def trims_strings() -> None:
    change_strings(str.strip)


def change_strings(change: Callable[[str], str]) -> None:
    real = Testee.do_connect

    async def connect(self: Testee, told: Told) -> Told:
        strings = {key: change(told[key]) for key in ("in", "out") if key in told}
        return await real(self, told | strings)

    Testee.do_connect = connect


@fault("environment/leads-to-the-server")
def takes_in_for_out() -> None:
    real = python_testee.from_environment

    def swapped() -> tuple[str, str]:
        in_, out = real()
        return out, in_

    python_testee.from_environment = swapped


@fault("environment/path-of-any-bytes")
def loses_bytes_of_its_paths() -> None:
    real = python_testee.from_environment

    def as_text() -> tuple[str, str]:
        in_, out = (os.fsencode(path).decode("utf-8", "replace") for path in real())
        return in_, out

    python_testee.from_environment = as_text


@fault("rendezvous/port-nines")
def takes_a_nine_for_no_digit() -> None:
    change_strings(lambda text: "bad" if text.isdigit() and "9" in text else text)


@fault("rendezvous/port-huge")
@fault("rendezvous/port-over")
def wraps_large_numbers() -> None:
    change_strings(lambda text: str(int(text) % 2**16 or 1) if text.isdigit() else text)
