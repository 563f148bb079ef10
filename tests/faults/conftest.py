from contextlib import chdir

import pytest

from tests.faults.shared import copied, trained


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    trained(folder)
    return folder


@pytest.fixture
def bench(original, tmp_path):
    """A copy of the two runs and their data, which is the working directory."""
    with chdir(tmp_path):
        yield copied(original, tmp_path)
