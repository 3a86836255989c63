"""A file that another program has put in place of a named pipe is not removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ipc_channel import BadRendezvousError, PosixNamedPipeChannel


@pytest.mark.parametrize("name", ["in", "out", "in.new", "out.new"])
async def test_a_file_in_the_place_of_a_pipe_is_kept(name: str) -> None:
    server = PosixNamedPipeChannel()
    directory = Path(server.in_path).parent
    shutil.rmtree(directory)
    directory.mkdir(0o700)
    (directory / name).write_text("precious")
    with pytest.raises(BadRendezvousError, match="it is not a named pipe"):
        await server.connect(0)
    await server.close()
    assert (directory / name).read_text() == "precious"
    assert os.listdir(directory) == [name]
    shutil.rmtree(directory)
