# SPDX-License-Identifier: Apache-2.0
"""Parts of the extra ``train`` that some tests need."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def need(*names: str) -> None:
    """Skip a test module whose packages are missing, or fail where nothing may be missing."""
    absent = [name for name in names if find_spec(name) is None]
    if absent and os.environ.get("MEDHUB_TEST_STRICT") == "1":
        pytest.fail(f"{absent} is missing, and MEDHUB_TEST_STRICT=1 says that nothing may be", pytrace=False)
    if absent:
        pytest.skip(f"{absent} is missing (the extra train)", allow_module_level=True)
    if "torch" in names:
        import torch

        # Tests run beside other work: threads that wait for a core they do not get make them many times slower.
        torch.set_num_threads(1)
