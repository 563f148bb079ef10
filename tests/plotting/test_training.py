"""What is drawn of tables/train.csv: terms of the loss, and each latent variable over the phases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from latentrun.report.curves import training_pictures

EPOCHS = 6


def table(variances: np.ndarray, scaled: bool = True, phases=("vae",) * EPOCHS) -> pd.DataFrame:
    """Columns of ``variances (E, d)``; mean sigma² is 1 less that, the KL that of a centred normal."""
    frame = pd.DataFrame(
        {
            "phase": phases,
            "epoch": range(1, EPOCHS + 1),
            "train/loss": 3.0,
            "val/monitor": 2.0,
            "learning_rate": 1e-3,
        }
    )
    found = {"var_mean": variances}
    if scaled:
        found |= {
            "mean_scale2": 1 - variances,
            "sum": np.ones_like(variances),
            "kl": -np.log(1 - variances) / 2,
        }
    columns = {
        f"latent/{name}.{i}": values[:, i] for name, values in found.items() for i in range(values.shape[1])
    }
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def course(last: list[float]) -> np.ndarray:
    return np.linspace(0.5, np.array(last), EPOCHS)


def lines_of(picture, panel: int):
    """Lines of one panel that are courses of variables."""
    return [line for line in picture.figure.axes[panel].lines if len(line.get_xdata()) == EPOCHS]


def test_every_variable_is_followed_and_coloured_by_what_it_says_at_the_end():
    values = course([0.9, 0.01, 0.6, 0.049, 0.06])
    picture = training_pictures(table(values))["latents"]
    assert [ax.get_ylabel() for ax in picture.figure.axes[:4]] == [
        "var(μ)",
        "mean σ²",
        "var(μ) + mean σ²",
        "mean KL (nats)",
    ]
    assert "5 latent variables" in picture.caption and "sigma" not in picture.caption
    for panel, wanted in enumerate((values, 1 - values, np.ones_like(values), -np.log(1 - values) / 2)):
        drawn = np.stack([line.get_ydata() for line in lines_of(picture, panel)])
        np.testing.assert_allclose(drawn, wanted.T[np.argsort(values[-1])], atol=1e-12)  # the last lies above
    lightness = [sum(to_rgb(line.get_color())) for line in lines_of(picture, 0)]
    assert lightness == sorted(lightness) and lightness[0] < lightness[-1]


def test_the_numbers_of_variables_are_numbers_and_no_words():
    """Variable 10 comes after 9: each keeps its own course in every panel."""
    values = course([0.9] * 2 + [0.01] + [0.9] * 9)
    picture = training_pictures(table(values)[list(table(values).columns[::-1])])["latents"]
    np.testing.assert_allclose(lines_of(picture, 0)[0].get_ydata(), values[:, 2])
    assert lines_of(picture, 3)[0].get_ydata()[-1] == pytest.approx(-np.log(0.99) / 2)


def test_phases_are_counted_on_and_named():
    picture = training_pictures(table(course([0.9, 0.3]), phases=("vae",) * 4 + ("noise",) * 2))["latents"]
    above, below = picture.figure.axes[0], picture.figure.axes[2]
    assert [text.get_text() for text in above.texts] == ["vae", "noise"] and not below.texts
    assert any(list(line.get_xdata()) == [4.5, 4.5] for line in below.lines)
    assert (
        lines_of(picture, 0)[0].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
        and "noise from epoch 5" in picture.caption
    )
    alone = training_pictures(table(course([0.9, 0.3])))["latents"]
    assert not alone.figure.axes[0].texts and "phases" not in alone.caption


def test_an_autoencoder_has_the_variance_of_its_codes_only():
    picture = training_pictures(table(course([0.9, 0.01]), scaled=False))["latents"]
    assert (
        picture.figure.axes[0].get_ylabel() == "var(μ)" and len(picture.figure.axes) == 2
    )  # one panel and the colours


@pytest.mark.parametrize("last", [[0.01, 0.01], [0.9]])
def test_equal_variables_and_a_single_one(last):
    assert len(lines_of(training_pictures(table(course(last)))["latents"], 0)) == len(last)


def test_what_is_known_of_latent_variables_does_not_flood_the_terms_of_the_loss():
    frame = table(course([0.5] * 64)).assign(
        **{"val/gain": 1.0, "val/noise_stage": 2.0, "val/noise_variable": 3.0}
    )
    pictures = training_pictures(frame)
    assert [ax.get_title() for ax in pictures[""].figure.axes if ax.axison] == [
        "loss",
        "gain",
        "learning rate",
    ]


def test_what_chooses_the_best_epoch_of_a_game_has_a_panel_of_its_own():
    """Two objectives have no loss in common in which it could be drawn."""
    frame = table(course([0.5])).rename(columns={"train/loss": "train/critic/loss"})
    frame["val/monitor"] = np.arange(EPOCHS) + 7.0
    picture = training_pictures(frame)[""]
    panels = {ax.get_title(): ax for ax in picture.figure.axes if ax.axison}
    assert list(panels) == ["critic/loss", "monitor", "learning rate"]
    assert list(panels["monitor"].lines[0].get_ydata()) == list(frame["val/monitor"])
    assert [text.get_text() for text in panels["monitor"].get_legend().get_texts()] == ["validation"]
    assert "in the panel monitor is the value by which" in picture.caption


def test_runs_from_before_have_no_such_picture():
    frame = table(course([0.5]))
    assert list(training_pictures(frame[[c for c in frame if not c.startswith("latent/")]])) == [""]


def test_losses_of_different_phases_are_not_joined():
    picture = training_pictures(table(course([0.9]), phases=("vae",) * 4 + ("second/vae",) * 2))[""]
    loss = picture.figure.axes[0]
    assert [
        list(line.get_xdata())
        for line in loss.lines
        if len(line.get_xdata()) > 1 and line.get_linestyle() == "-"
    ][:2] == [
        [1, 2, 3, 4],
        [5, 6],
    ]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", "validation"]
