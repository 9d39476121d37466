"""The device that OpenCL tests run on."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import pytest

PACKAGES = "apt-get install pocl-opencl-icd; pip install pyopencl"


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return pocl's CPU; where it is missing tests are skipped at home and fail in CI."""
    os.environ["POCL_CACHE_DIR"] = str(tmp_path_factory.mktemp("pocl"))
    os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
    try:
        import pyopencl  # noqa: F401
    except ImportError as error:
        _without(error)
    from tests.opencl.pocl import Device

    try:
        return Device.find()
    except LookupError as error:
        _without(error)


def _without(error: Exception) -> NoReturn:
    missing = f"{error}: {PACKAGES}"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
