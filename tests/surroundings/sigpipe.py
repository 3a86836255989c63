"""A plugin for pytest: SIGPIPE at its default, as in a service that sets it so."""

import signal

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
