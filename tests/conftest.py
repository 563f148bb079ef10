import gc
import os

import pytest
import torch

from latentrun.plotting.style import RC

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
RC["savefig.dpi"] = (
    60  # thousands of figures: what stands in them does not depend on how many pixels they have
)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    # What is there by now stays, and is much: looking through it for garbage takes a third of the time.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    torch.default_generator.manual_seed(
        0
    )  # torch.manual_seed takes a millisecond, and there are 12,000 tests
