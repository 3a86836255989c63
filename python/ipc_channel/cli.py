"""The command ``ipc-channel``.

``ipc-channel conformance`` checks a client; ``ipc-channel report`` compares the JSON
reports of several clients. Both need the extra ``conformance``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ipc_channel import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process."""
    parser = argparse.ArgumentParser(
        prog="ipc-channel", description="Tools for clients of ipc-channel."
    )
    parser.add_argument("--version", action="version", version=f"ipc-channel {__version__}")
    parser.add_argument(
        "command",
        choices=("conformance", "report"),
        help="check a client; or put reports of several side by side",
    )
    told = list(sys.argv[1:] if arguments is None else arguments)
    # Everything behind the command is passed to it unchanged.
    name = parser.parse_args(told[:1]).command
    try:
        from ipc_channel.conformance import command  # noqa: PLC0415  # needs an extra
    except ModuleNotFoundError as error:
        text = f"{error.name} is missing: pip install 'ipc-channel[conformance]'"
        print(text, file=sys.stderr)
        return 2
    run = command.conformance if name == "conformance" else command.report
    return run(told[1:])


if __name__ == "__main__":
    sys.exit(main())
