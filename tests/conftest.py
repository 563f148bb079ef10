import gc
import os

import pytest
import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


# The longest files, which are begun with: the last of them should not be waited for alone.
LONG = ("test_diagnostics", "test_sweep", "test_claims", "test_wrong", "test_resume", "test_runs")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    # What is there by now stays, and is much: looking through it for garbage takes a third of the time.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    # torch.manual_seed takes a millisecond, and there are 12,000 tests.
    torch.default_generator.manual_seed(0)
