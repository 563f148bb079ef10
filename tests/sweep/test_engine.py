"""When a sweep starts no further job and when it stops those at work, by how others ended."""

from __future__ import annotations

import pytest

from latentrun.sweep.engine import Engine, Launch, Outcome
from latentrun.sweep.plan import Job

JOB = Job(0, "0", (), {}, {})


def engine(**limits) -> Engine:
    """An engine with limits, which carries nothing out."""
    values = {"n_jobs": 1, "gpus": [], "timeout": None, "fail_fast": False, "max_failures": None} | limits
    idle = object.__new__(Engine)
    idle.launch = Launch(**values)
    return idle


def ended(*codes: int) -> list[Outcome]:
    return [Outcome(JOB, code, None, 1.0) for code in codes]


@pytest.mark.parametrize("code", [1, 2, -9])  # failed, refused, killed by a signal
def test_a_failure_of_any_kind_counts(code):
    assert engine(max_failures=2)._is_over(ended(code, 0, code), False)
    assert not engine(max_failures=2)._is_over(ended(code, 0), False)
    assert not engine(max_failures=2)._stops_all(ended(code, code), False)
    assert engine(fail_fast=True)._stops_all(ended(0, code), False)
    assert not engine()._is_over(ended(code, code), False)


def test_success_and_signals_to_the_sweep():
    assert not engine(fail_fast=True, max_failures=1)._is_over(ended(0, 0), False)
    assert engine()._stops_all(ended(), True) and engine()._is_over(ended(), True)
