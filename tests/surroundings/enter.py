"""``enter.py NAME COMMAND...``: make what a surrounding changes, then become the command."""

from __future__ import annotations

import os
import signal
import sys

from surroundings.catalog import BY_NAME

if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores for itself
    BY_NAME[sys.argv[1]].change()
    os.execvp(sys.argv[2], sys.argv[2:])  # no shell is wanted
