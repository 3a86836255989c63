"""Start a service under Wine, and then a helper on Linux: each ends with status 0.

``python meet.py SERVICE... -- HELPER...``
"""

from __future__ import annotations

import os
import subprocess
import sys

_PATIENCE = 120  # seconds


def main(words: list[str]) -> int:
    border = words.index("--")
    service, helper = words[:border], words[border + 1 :]
    pipe = subprocess.PIPE
    with subprocess.Popen(service, stdin=pipe, stdout=pipe, text=True) as serving:
        assert serving.stdout is not None
        in_path, out_path = serving.stdout.readline().split()
        env = {**os.environ, "IPC_CHANNEL_IN": in_path, "IPC_CHANNEL_OUT": out_path}
        helped = subprocess.run(helper, env=env, check=False, timeout=_PATIENCE)
        print(serving.stdout.read(), flush=True)
    print(
        f"the service ended with {serving.returncode}, the helper with {helped.returncode}"
    )
    return int(bool(serving.returncode or helped.returncode))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
