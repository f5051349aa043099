"""Ray's interpreter, installed when the tests first ask for it."""

import os

import pytest

from tests.cluster.environment import ENVIRONMENT


@pytest.fixture(scope="session")
def interpreter() -> str:
    """The path of a Python that has Ray; the tests are skipped where it cannot be had."""
    if os.environ.get("LPD_TEST_CLUSTER") == "0":
        pytest.skip("LPD_TEST_CLUSTER=0: Ray's environment and minutes are not wanted; `make test-cluster`")
    reason = ENVIRONMENT.install()
    if reason:
        pytest.skip(reason)
    return str(ENVIRONMENT.interpreter)
