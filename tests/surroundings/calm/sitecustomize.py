"""Keeps quiet in development mode about callbacks that took long, as a slow machine is no fault.

Python imports this at its start wherever its folder is in PYTHONPATH.
"""

import logging

_SLOW = "Executing %s took %.3f seconds"

logging.getLogger("asyncio").addFilter(lambda record: record.msg != _SLOW)
