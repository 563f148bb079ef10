"""Active, inactive and doubtful variables, by numbers alone."""

from __future__ import annotations

import torch

from latentrun.functional.usage import ACTIVE, DOUBTFUL, INACTIVE, Limits, Usage, classify, ignored

LIMITS = Limits(scale2=0.8, variance=0.05, gain=0.1)
# In turn: used; collapsed; collapsed but read by the decoder; ignored but with a posterior of its own; wide
# sigma alone.
USAGE = Usage(
    var_mean=torch.tensor([0.9, 0.01, 0.01, 0.9, 0.9]),
    mean_scale2=torch.tensor([0.1, 0.99, 0.99, 0.1, 0.99]),
    gain=torch.tensor([5.0, -0.1, 3.0, 0.05, 5.0]),
)


def test_all_criteria_make_inactive_none_makes_active_and_some_leave_doubt():
    assert classify(USAGE, LIMITS).tolist() == [ACTIVE, INACTIVE, DOUBTFUL, DOUBTFUL, DOUBTFUL]


def test_the_gain_alone_decides_where_moments_mean_nothing():
    assert classify(USAGE, LIMITS, by_moments=False).tolist() == [ACTIVE, INACTIVE, ACTIVE, INACTIVE, ACTIVE]


def test_the_moments_alone_decide_where_no_gain_was_measured():
    alone = Usage(USAGE.var_mean, USAGE.mean_scale2)
    assert classify(alone, LIMITS).tolist() == [ACTIVE, INACTIVE, INACTIVE, ACTIVE, DOUBTFUL]


def test_a_gain_is_hardly_one_either_way_up_to_the_limit():
    usage = Usage(torch.zeros(3), torch.ones(3), torch.tensor([0.1, -0.1, -0.11]))
    assert ignored(usage, Limits(0.8, 0.05, float(torch.tensor(0.1)))).tolist() == [True, True, False]


def test_limits_of_the_posterior_are_exclusive():
    usage = Usage(var_mean=torch.tensor([0.5]), mean_scale2=torch.tensor([0.5]))
    assert classify(usage, Limits(scale2=0.5, variance=0.5)).tolist() == [ACTIVE]
