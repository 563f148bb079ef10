"""Conditions typed by people: what they select, and that nothing else is understood."""

from __future__ import annotations

import pandas as pd
import pytest

from latentrun.errors import InputError
from latentrun.tables.conditions import select

FRAME = pd.DataFrame(
    {
        "model": ["vae", "ae", "vae", "vae"],
        "model.latent_dim": [1, 2, 4, 8],
        "model.squash": [True, False, True, None],
        "training.patience": pd.Series([12, None, "never", 3], dtype=object),
        "reconstruction/error_mean": [3.0, 2.0, float("nan"), 1.0],
        "latents/knn_r2.my factor": [0.1, 0.2, 0.3, 0.4],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("model.latent_dim > 2", [2, 3]),
        ("2 < model.latent_dim <= 4", [2]),
        ("model == vae", [0, 2, 3]),
        ("vae != model", [1]),
        ('model == "vae" and model.latent_dim < 4', [0]),
        ("model == ae or model.latent_dim == 8", [1, 3]),
        ("not model == vae", [1]),
        ("model.latent_dim in [1, 8.0]", [0, 3]),
        ("model not in (vae,)", [1]),
        ("reconstruction/error_mean < 2.5", [1, 3]),  # nothing is less than what is missing
        ("reconstruction/error_mean != 2", [0, 2, 3]),
        ("reconstruction/error_mean > -1", [0, 1, 3]),
        ("'latents/knn_r2.my factor' >= 0.3", [2, 3]),
        ("model.squash == true", [0, 2]),
        ("model.squash == None", [3]),
        ("training.patience != null", [0, 2, 3]),
        ("training.patience > 2", [0, 3]),  # a text is in no order with numbers
        ("model.latent_dim > 99", []),
        (" ( model == ae ) ", [1]),
    ],
)
def test_selects(condition, rows):
    found = select(FRAME, condition)
    assert found.dtype == bool
    assert FRAME.index[found].tolist() == rows


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("latent_dim > 2", "'latent_dim' is no column (did you mean 'model.latent_dim'?)"),
        ("model == vea", "'vea' is no column nor a value of 'model' (did you mean 'vae'?)"),
        (
            "reconstruction/eror_mean < 2",
            "'reconstruction/eror_mean' is no column (did you mean 'reconstruction/error_mean'?)",
        ),
        ("model.latent_dim >", "cannot be read"),
        ("model.latent_dim", "neither true nor false"),
        ("1 < 2", "name no column"),
        ("model.latent_dim + 1 > 2", "name no column"),
        ("model.latent_dim is 2", "write =="),
        ("model in vae", "a list in brackets"),
        ("model < null", "null is only equal or not equal"),
        ("__import__('os').system('touch canary') == 0", "name no column"),
        ("model == __import__('os')", "not known"),
        ("model == f'{1}'", "not known"),
        ("model.__class__ == 1", "is no column"),
        ("[x for x in model] == 1", "name no column"),
        ("(lambda: 1)() == model", "not known"),
        ("model == (y := 'vae')", "not known"),
        ("not " * 5000 + "model == vae", "longer than"),
        ("(" * 900 + "model == vae" + ")" * 900, "cannot be read"),
        ("\0", "cannot be read"),
    ],
)
def test_refuses_in_one_line(condition, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        select(FRAME, condition)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
