import numpy as np
import torch
from scipy.optimize import least_squares

from latentrun.functional.least_squares import levenberg_marquardt

FREE = torch.full((3,), torch.inf, dtype=torch.float64)
T = torch.linspace(0, 4, 25, dtype=torch.float64)


def decay(y):
    """y = a exp(-k t) + c, theta = (a, k, c)."""

    def residual(theta, rows):
        a, k, c = theta.T[:, :, None]
        return a * (-k * T).exp() + c - y[rows]

    def jacobian(theta, rows):
        a, k, _ = theta.T[:, :, None]
        e = (-k * T).exp()
        return torch.stack([e, -a * T * e, torch.ones_like(e)], 2)

    def normal(theta, rows):
        r, jac = residual(theta, rows), jacobian(theta, rows)
        return 0.5 * (r * r).sum(1), torch.einsum("nmp,nm->np", jac, r), jac.mT @ jac

    return normal


def planted(n, noise, seed=0):
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(n, 3, generator=g, dtype=torch.float64) * torch.tensor([2.0, 1.5, 1.0]) + torch.tensor(
        [0.5, 0.3, -0.5]
    )
    a, k, c = truth.T[:, :, None]
    y = a * (-k * T).exp() + c
    return truth, y + noise * torch.randn(y.shape, generator=g, dtype=torch.float64)


def reference(y, low=-np.inf, high=np.inf):
    start = np.clip(np.ones(3), low, high)
    t, seen = T.numpy(), y.numpy()
    return least_squares(
        lambda p: p[0] * np.exp(-p[1] * t) + p[2] - seen,
        start,
        bounds=(low, high),
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    )


def test_planted_parameters_come_back():
    truth, y = planted(500, 0.0)
    fit = levenberg_marquardt(decay(y), torch.ones_like(truth), -FREE, FREE)
    assert fit.converged.all()
    torch.testing.assert_close(fit.theta, truth, rtol=0, atol=1e-8)


def test_agrees_with_scipy_on_noisy_problems():
    truth, y = planted(30, 0.1)
    fit = levenberg_marquardt(decay(y), torch.ones_like(truth), -FREE, FREE)
    cost = np.array([reference(row).cost for row in y])
    np.testing.assert_allclose(fit.cost.numpy(), cost, rtol=1e-9)
    assert fit.cosine.max() < 1e-6


def test_agrees_with_scipy_inside_a_box():
    truth, y = planted(30, 0.05)
    low, high = (
        torch.tensor([0.6, 0.5, -0.2], dtype=torch.float64),
        torch.tensor([1.5, 1.0, 0.2], dtype=torch.float64),
    )
    fit = levenberg_marquardt(decay(y), torch.ones_like(truth), low, high)
    assert ((fit.theta >= low) & (fit.theta <= high)).all()
    assert ((fit.theta == low) | (fit.theta == high)).any(1).double().mean() > 0.5  # the box matters here
    cost = np.array([reference(row, low.numpy(), high.numpy()).cost for row in y])
    np.testing.assert_allclose(fit.cost.numpy(), cost, rtol=1e-6)


def test_rows_do_not_see_each_other():
    truth, y = planted(20, 0.1)
    together = levenberg_marquardt(decay(y), torch.ones_like(truth), -FREE, FREE).theta
    alone = levenberg_marquardt(decay(y[7:8]), torch.ones(1, 3, dtype=torch.float64), -FREE, FREE).theta
    torch.testing.assert_close(together[7:8], alone, rtol=0, atol=1e-10)


def test_what_is_not_finite_is_no_improvement():
    truth, y = planted(4, 0.0)
    y[1] = torch.nan
    y[2] = torch.inf
    fit = levenberg_marquardt(decay(y), torch.ones_like(truth), -FREE, FREE)
    assert fit.theta.isfinite().all()
    torch.testing.assert_close(fit.theta[[0, 3]], truth[[0, 3]], rtol=0, atol=1e-8)
    torch.testing.assert_close(fit.theta[[1, 2]], torch.ones(2, 3, dtype=torch.float64))


def test_no_rows():
    fit = levenberg_marquardt(decay(torch.empty(0, 25)), torch.empty(0, 3, dtype=torch.float64), -FREE, FREE)
    assert fit.theta.shape == (0, 3) and fit.iterations == 0
