import gc
import os

import pytest
import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    # What is there by now stays, and is much: looking through it for garbage takes a third of the time.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
