"""What ``help`` and ``dir`` show of the package."""

from __future__ import annotations

import doctest
import inspect
import io
import json
import pydoc
import re
import tomllib
from pathlib import Path

import pytest

import ipc_channel
from ipc_channel import EndReason, IPCChannelClient, ResetError, TCPSocketChannel, cli

ROOT = Path(__file__).parents[1]
PUBLIC = [getattr(ipc_channel, name) for name in ipc_channel.__all__]
DOCUMENTED = [one for one in PUBLIC if inspect.isclass(one) or inspect.isfunction(one)]


def shown_by_help() -> str:
    output = io.StringIO()
    pydoc.Helper(output=output).help(ipc_channel)
    return output.getvalue()


def test_help_begins_with_an_example_and_names_what_there_is() -> None:
    text = shown_by_help()
    start = text[:4000]
    for said in ("Helper(", "asyncio.run(main())", "IPCChannelError", "spec/session.md"):
        assert said in start
    for name in ipc_channel.__all__:
        assert name in text


def test_help_shows_what_this_package_defines() -> None:
    text = shown_by_help()
    for foreign in ("with_traceback", "capitalize", "characters_written"):
        assert foreign not in text


@pytest.mark.filterwarnings("error")
def test_the_example_runs() -> None:
    found = doctest.testmod(ipc_channel)
    assert found.attempted > 3
    assert found.failed == 0


def test_dir_has_the_public_names_of_a_class() -> None:
    assert set(dir(EndReason)) == set(EndReason.__members__)
    use = {"connect", "read", "write", "close", "disconnect", "end_reason"}
    assert use <= set(dir(IPCChannelClient))
    assert {*use, "in_path", "out_path"} <= set(dir(TCPSocketChannel))
    assert "code" in dir(ResetError)
    assert "with_traceback" in dir(ResetError("instances are as ever"))


@pytest.mark.parametrize("one", DOCUMENTED, ids=lambda one: one.__name__)
def test_everything_public_is_documented(one: object) -> None:
    assert inspect.getdoc(one)
    if inspect.isclass(one):
        for name, member in vars(one).items():
            if not name.startswith("_") and callable(member):
                assert inspect.getdoc(getattr(one, name)), name


def test_cited_pages_of_the_specification_exist() -> None:
    sources = (ROOT / "python").rglob("*.py")
    text = "".join(source.read_text("utf-8") for source in sources)
    pages = set(re.findall(r"\bspec/[\w/]+\.\w+", text))
    assert pages
    assert all((ROOT / page).exists() for page in pages), pages


def test_one_version_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    package = json.loads((ROOT / "js-client" / "package.json").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert package["version"] == ipc_channel.__version__
    assert "version" in project["dynamic"]
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"ipc-channel {ipc_channel.__version__}\n"


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("spec/*.md")], ids=lambda page: page.name
)
def test_links_of_the_documents_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target
