"""vLLM's interpreter, installed when the tests first ask for it."""

import os

import pytest

from tests.vllm import environment


@pytest.fixture(scope="session")
def interpreter():
    """The path of a Python that has vLLM; the tests are skipped where it cannot be had."""
    if os.environ.get("LPD_TEST_VLLM") == "0":
        pytest.skip("LPD_TEST_VLLM=0: vLLM's environment (4 GB, some minutes) is not wanted")
    reason = environment.install()
    if reason:
        pytest.skip(reason)
    return str(environment.interpreter())
