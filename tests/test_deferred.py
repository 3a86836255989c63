"""What a helper does not need is imported when it is used first."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = pytest.mark.parametrize("package", ["ipc_channel", "ipc_channel.sync"])


def loaded(program: str) -> set[str]:
    """Return the parts of the package that a program has imported."""
    code = f"import sys\n{program}\nprint(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    modules = (name.split(".") for name in done.stdout.split())
    return {parts[-1] for parts in modules if parts[0] == "ipc_channel"}


@PACKAGES
def test_a_helper_imports_neither_pools_nor_requests_nor_what_starts_it(
    package: str,
) -> None:
    found = loaded(f"from {package} import run_helper, make_ipc_channel, from_environment")
    assert "factory" in found
    heavy = {"codec", "pool", "request_channel", "events", "supervisor", "service_signals"}
    assert not found & heavy


@PACKAGES
def test_each_public_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert all(hasattr(module, name) for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))


@PACKAGES
def test_a_deferred_name_is_looked_up_once(package: str) -> None:
    module = importlib.import_module(package)
    found = module.Helper
    assert vars(module)["Helper"] is found


@PACKAGES
def test_a_star_imports_deferred_names_too(package: str) -> None:
    found = loaded(f"from {package} import *\nHelperPool, RequestChannel")
    assert {"request_channel", "supervisor"} <= found


@PACKAGES
def test_another_name_is_an_attribute_error(package: str) -> None:
    text = f"^module '{package}' has no attribute 'Helpr'"
    with pytest.raises(AttributeError, match=text) as caught:
        importlib.import_module(package).Helpr  # noqa: B018  # looked up, and not there
    assert caught.value.name == "Helpr"
