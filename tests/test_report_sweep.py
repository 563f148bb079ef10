"""Many runs on one page: the leaderboard tells good from noise, the pictures show what was measured, nothing
foreign runs."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from latentrun.config.trust import Trust
from latentrun.errors import InputError
from latentrun.plotting.pages import policy
from latentrun.plotting.sweep import Key, Panel, against, over_two, written
from latentrun.report.sweep import Survey, _means, pictures, survey, write_page
from latentrun.sweep.plan import Sweep
from latentrun.tables.collect import collect, collect_sweep, write_tables
from latentrun.tables.leaderboard import BEST, SAME, UNTESTED, WORSE, latex, leaderboard, markdown
from latentrun.tables.settings import meanings
from latentrun.tasks.findings import tell_sayings
from latentrun.tasks.sweep import conclude
from latentrun.types import Meaning
from tests.planted_runs import MEANING, plant
from tests.test_collect import sweep
from tests.test_pipeline import run
from tests.test_report import CANARY, Elements, in_browser, needs_browser

RNG = np.random.default_rng(0)
KEY = "model.latent_dim"


def frame(errors: np.ndarray, metric: str = "probe/error") -> pd.DataFrame:
    """One row a run, ``errors (G, S)`` by latent dimension 1 ... G and seed."""
    rows = [{KEY: g + 1, "seed": s, metric: errors[g, s]} for g, s in product(*map(range, errors.shape))]
    return pd.DataFrame(rows).dropna()


def board(errors: np.ndarray, metric: str = "probe/error") -> pd.DataFrame:
    return leaderboard(frame(errors, metric), [KEY], [metric], MEANING).set_index(KEY)


# ---------------------------------------------------------------- the leaderboard
def test_a_metric_that_falls_with_the_key_ranks_it():
    found = board(np.array([3.0, 2.0, 1.0])[:, None] + RNG.normal(0, 0.2, 5) + RNG.normal(0, 0.02, (3, 5)))
    assert found["rank"].to_dict() == {3: 1, 2: 2, 1: 3}
    assert found["verdict"].to_dict() == {3: BEST, 2: WORSE, 1: WORSE}
    assert np.isnan(found["p"][3])
    np.testing.assert_allclose(found["difference"][[1, 2]], [2, 1], atol=0.1)
    assert (found["difference_low"] < found["difference"])[[1, 2]].all()


def test_the_ends_of_a_difference_are_exchanged_with_its_sign():
    """Of a score, where higher is better, the others' differences are those of the negative errors."""
    values = np.array([3.0, 2.0, 1.0])[:, None] + RNG.normal(0, 0.3, (3, 5))
    errors, scores = board(values), board(-values, "probe/score")
    for g in (1, 2):
        low, high = scores["difference_low"][g], scores["difference_high"][g]
        assert low < scores["difference"][g] < high < 0
        assert (low, high) == pytest.approx((-errors["difference_high"][g], -errors["difference_low"][g]))


def test_differences_and_p_are_those_of_scipy():
    errors = RNG.normal(0, 1, (3, 6)) + [[0], [1], [3]]
    found = board(errors)
    best = found["mean"].idxmin() - 1
    p = {(i, j): stats.ttest_rel(errors[i], errors[j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))}
    corrected = dict(zip(p, stats_holm(list(p.values())), strict=True))
    for g in {0, 1, 2} - {best}:
        np.testing.assert_allclose(found["p"][g + 1], p[min(g, best), max(g, best)])
        np.testing.assert_allclose(found["p_holm"][g + 1], corrected[min(g, best), max(g, best)])
        np.testing.assert_allclose(found["difference"][g + 1], errors[g].mean() - errors[best].mean())


def stats_holm(p: list[float]) -> list[float]:
    """Holm's correction step by step, as in a textbook."""
    order, out, before = sorted(range(len(p)), key=p.__getitem__), [0.0] * len(p), 0.0
    for k, i in enumerate(order):
        before = out[i] = max(before, min(1.0, (len(p) - k) * p[i]))
    return out


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("probe/error", [0.5, 0.7, 2.0], 1),
        ("probe/score", [0.5, 0.7, 2.0], 3),
        ("probe/ratio", [0.5, 0.7, 2.0], 2),  # nearest to 1
    ],
)
def test_better_is_what_the_metric_says(metric, values, best):
    found = board(np.array(values)[:, None] + RNG.normal(0, 0.01, (3, 4)), metric)
    assert found["verdict"].to_dict() == {g: BEST if g == best else WORSE for g in (1, 2, 3)}
    np.testing.assert_allclose(found["mean"].sort_index(), values, atol=0.02)
    others = found[found["verdict"] == WORSE]
    expected = {"probe/error": [0.2, 1.5], "probe/score": [-1.5, -1.3], "probe/ratio": [0.2, 0.7]}[metric]
    np.testing.assert_allclose(others["difference"].sort_index(), expected, atol=0.03)


@pytest.mark.parametrize("groups", [2, 4])
def test_noise_is_not_told_from_noise(groups):
    """The best is chosen by the numbers it is tested with: without a correction for that, verdicts would come
    much too often."""
    boards = [board(RNG.normal(0, 1, (groups, 4))) for _ in range(300)]
    assert (
        np.mean([(found["verdict"] == WORSE).any() for found in boards]) < 0.085
    )  # 0.05 and 2.8 standard errors
    if groups > 2:
        assert np.mean([(found["p"] < 0.05).any() for found in boards]) > 0.12


def test_seeds_that_are_not_common_are_said():
    errors = np.full((2, 6), np.nan)
    errors[0, :3], errors[1, 3:] = [1.0, 1.1, 0.9], [2.0, 2.1, 2.2]
    found = board(errors)
    assert (
        found["test"][2] == "Welch t over seeds"
        and found["common_seeds"][2] == 0
        and found["n"].tolist() == [3, 3]
    )
    np.testing.assert_allclose(
        found["p"][2], stats.ttest_ind(errors[0, :3], errors[1, 3:], equal_var=False).pvalue
    )


def test_one_seed_and_equal_results_are_not_tested():
    assert board(np.array([[1.0], [2.0]]))["verdict"].tolist() == [BEST, UNTESTED]
    found = board(np.array([[3.0, 3.0, 3.0], [4.0, 4.0, 4.0]]))
    assert found["verdict"].tolist() == [BEST, UNTESTED] and found["test"][2] == "none: no spread over seeds"


def test_a_metric_without_direction_is_not_ranked():
    table = leaderboard(
        frame(np.ones((2, 2))), [KEY], ["probe/error"], {"probe/error": Meaning("px", "none")}
    )
    assert len(table) == 0 and KEY in table


def test_forms_for_papers():
    errors = np.array([[1.0, 1.2], [3.0, 4.6]])
    table = frame(errors).assign(**{"model.a_b": np.repeat(["50%|{x}", "$y_1$ & <z>"], 2)})
    found = leaderboard(table, ["model.a_b"], ["probe/error"], MEANING)
    assert found["verdict"].tolist() == [BEST, SAME]
    lines = latex(found, ["model.a_b"]).splitlines()
    assert lines[2:6] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"model.a\_b & probe/error $\downarrow$ \\",
        r"\midrule",
    ]
    assert lines[6] == r"50\%|\{x\} & \textbf{1.1} $\pm$ 1.3 \\"
    assert lines[7] == r"\$y\_1\$ \& \textless{}z\textgreater{} & 3.8 $\pm$ 10 \\"
    lines = markdown(found, ["model.a_b"]).splitlines()
    assert lines[:2] == ["| model.a_b | probe/error ↓ |", "| --- | --: |"]
    assert lines[2] == r"| 50%\|{x} | **1.1** ± 1.3 |"
    assert lines[3] == "| $y_1$ &amp; &lt;z> | 3.8 ± 10 |"
    found.loc[1, "verdict"] = WORSE
    assert "3.8 ± 10 †" in markdown(found, ["model.a_b"]) and r"3.8 $\pm$ 10$^\dagger$" in latex(
        found, ["model.a_b"]
    )


# ---------------------------------------------------------------- pictures
@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ((1, 2, 4, 8), True),
        ((0.001, 0.003, 0.01, 0.03), True),
        ((1, 2, 3, 4), False),
        ((2, 4), False),
        ((0, 1, 2, 4), False),
    ],
)
def test_a_geometric_grid_has_a_logarithmic_axis(values, geometric):
    ax = against([Panel("error", RNG.normal(size=(len(values), 1, 3)))], Key("k", values, True), None).axes[0]
    assert ax.get_xscale() == ("log" if geometric else "linear")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [written(value) for value in values]


def test_lines_are_means_with_t_intervals_and_seeds_behind():
    values = RNG.normal(size=(3, 2, 4))
    values[1, 0, 2:] = np.nan
    fig = against(
        [Panel("error", values)], Key("model.latent_dim", (1, 2, 3), True), Key("model", ("ae", "vae"), False)
    )
    ax = fig.axes[0]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["ae", "vae"]
    for number, container in enumerate(ax.containers):
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_ydata(), np.nanmean(values[:, number], axis=1))
        own = values[1, number][np.isfinite(values[1, number])]
        expected = stats.t.interval(0.95, len(own) - 1, own.mean(), stats.sem(own))
        np.testing.assert_allclose(bars.get_segments()[1][:, 1], expected)
    assert sum(np.isfinite(points.get_offsets()[:, 1]).sum() for points in ax.collections[:1]) == 10


def test_the_map_has_the_means_in_its_cells():
    values = RNG.normal(size=(2, 3, 4))
    ax = over_two([Panel("error", values)], Key("a", (1, 2), True), Key("b", (1, 2, 3), True)).axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), values.mean(2))
    assert {text.get_text() for text in ax.texts} == {f"{value:.3g}" for value in values.mean(2).ravel()}


def test_each_metric_against_each_key(tmp_path):
    paths = [
        plant(
            tmp_path / f"{d}_{b}_{s}",
            {"seed": s, KEY: d, "model.beta": b, "model.kl": k},
            {"probe/error": d + b + s, "probe/ratio": 1.0},
        )
        for d, b, k, s in product((1, 2), (0.5, 1.0), ("full",), (0, 1))
    ]
    table = collect(paths)
    found = survey(table, [KEY, "model.beta"], ["probe/error"], Path())
    drawn = dict(pictures(found))
    assert set(drawn) == {
        "probe.error_by_model.latent_dim",
        "probe.error_by_model.beta",
        "probe.error_by_model.latent_dim_and_model.beta",
    }
    line = drawn["probe.error_by_model.latent_dim"].figure.axes[0].containers[0][0]
    np.testing.assert_allclose(line.get_ydata(), [2.0, 3.0])  # d + 0.5 + 0.5
    single = dict(pictures(survey(table, [KEY], ["probe/error"], Path())))
    line = single["probe.error_by_model.latent_dim"].figure.axes[0].containers[0][0]
    np.testing.assert_allclose(line.get_ydata(), [2.25, 3.25])
    with pytest.raises(InputError, match="no run has 'probe/eror'.*did you mean 'probe/error'"):
        survey(table, [KEY], ["probe/eror"], Path())


# ---------------------------------------------------------------- the page
def test_the_page_of_a_sweep_says_what_failed_and_links_every_run(tmp_path, monkeypatch):
    monkeypatch.setattr("latentrun.report.sweep.HEADLINES", (("probe/error", "the error"),))
    path = sweep(tmp_path / "s", dims=(1, 2, 4))
    names = pd.read_csv(path / "plan.csv")["directory"]
    (path / names[1] / "status.json").write_text(
        json.dumps({"state": "failed", "reason": "RuntimeError: boom"})
    )
    (path / names[1] / "report.html").unlink()
    write_page(path, ["pdf"])
    assert {file.name for file in (path / "plots").iterdir()} == {
        f"probe.error_by_model.latent_dim.{kind}" for kind in ("png", "pdf")
    }
    page = Elements((path / "report.html").read_text())
    links = [
        attributes["href"]
        for tag, attributes in page.found
        if tag == "a" and not attributes["href"].startswith("#")
    ]
    assert len(links) == 8 and links[0] == "./0_model.latent_dim%3D1_seed%3D0/report.html"
    assert page.text.index("RuntimeError: boom") < page.text.index(
        "leaderboard", page.text.index("metrics against")
    )
    assert (
        "8 done" in page.text
        and "1 failed" in page.text
        and "-m model.latent_dim=1,2 seed=0,1,2" in page.text
    )
    assert sum(tag == "img" for tag, _ in page.found) == 1
    before = (path / "report.html").read_bytes()
    write_page(path)
    assert (path / "report.html").read_bytes() == before


def test_what_is_said_of_runs_stands_on_top_once_for_each_rule(tmp_path, capsys):
    path = sweep(tmp_path / "s", dims=(1, 2))
    names = sorted(folder.name for folder in path.iterdir() if folder.name[0].isdigit())
    bad = ("baselines", "worse_than_mean", "problem")
    for job, name in enumerate(names):
        rows = [(*bad, f"Worse than the mean example: {job + 2} times <b>.")]
        rows += [("samples", "far", "hint", "Samples lie far away.")] * (job == 4)
        table = pd.DataFrame(rows, columns=["diagnostic", "finding", "weight", "sentence"])
        table.assign(command="").to_csv(path / name / "tables" / "findings.csv", index=False)
    write_page(path)
    page = Elements((path / "report.html").read_text())
    items = [attributes for tag, attributes in page.found if tag == "li"]
    assert [attributes["class"] for attributes in items] == ["problem", "hint"]
    assert "6 of 6 runs: Worse than the mean example: 2 times <b>. (one of them)" in page.text
    assert "1 of 6 runs: Samples lie far away." in page.text
    said = (path / "report.html").read_text().partition("</ul>")[0]
    assert said.count('<a href="./') == 1 and f"{names[4]}</a>" in said  # of six runs no names
    tell_sayings(collect_sweep(path)[0], path)
    assert capsys.readouterr().out.splitlines() == [
        "! 6 of 6 runs: Worse than the mean example: 2 times <b>. (one of them) (baselines)",
        f"- 1 of 6 runs: Samples lie far away. (samples, {names[4]})",
    ]
    tell_sayings(collect_sweep(path)[0].drop(columns="job"), path)  # as of runs of no sweep
    assert capsys.readouterr().out.count("runs: ") == 2


def test_a_sweep_ends_with_what_is_said_of_its_runs(tmp_path, monkeypatch, capsys):
    path = sweep(tmp_path / "s", dims=(1,))
    monkeypatch.setattr("latentrun.tasks.sweep.compared", lambda sweep, trust: 0)
    monkeypatch.setattr(
        "latentrun.tasks.sweep.tell_sayings", lambda frame, root: print(f"said of {len(frame)}")
    )
    assert conclude(Sweep(path), [], Trust()) == 0
    assert capsys.readouterr().out.splitlines()[0] == "said of 3"


def test_the_page_shows_half_of_the_interval_over_seeds():
    errors = np.array([[1.0, 2.0, 4.0], [3.0, 3.5, 3.6]])
    names, rows = _means(Survey(frame(errors), [KEY], [("", ["probe/error"])], MEANING, Path()))
    assert names == [KEY, "seeds", "probe/error"]
    halves = stats.t.ppf(0.975, 2) * errors.std(1, ddof=1) / 3**0.5
    assert [row[2] for row in rows] == [f"2.333 ± {halves[0]:.2g}", f"3.367 ± {halves[1]:.2g}"]


def test_a_sweep_of_which_nothing_is_left_has_a_page(tmp_path):
    path = sweep(tmp_path / "s", dims=(1,), seeds=(0,))
    (path / pd.read_csv(path / "plan.csv")["directory"][0] / "meta.json").unlink()
    write_page(path)
    assert "not started" in (path / "report.html").read_text()


def test_a_sweep_that_has_not_begun_has_tables_and_a_page(tmp_path):
    (tmp_path / "plan.csv").write_text("job,directory,overrides,hash,skipped\n")
    write_tables(tmp_path)
    write_page(tmp_path)
    assert (tmp_path / "sweep.csv").read_text().startswith("job,run,state,reason")
    assert Elements((tmp_path / "report.html").read_text()).of("img") == []


def hostile(path: Path) -> Path:
    """A sweep with markup in every name and value."""
    name = CANARY.replace("/", "_")
    rows = []
    for job, seed in product(range(2), range(2)):
        settings = {"seed": seed, "model.likelihood": f"$\\frac{CANARY}{job}", f"model.{CANARY}": 1}
        state = "failed" if job else "done"
        plant(path / f"{job}{seed}{name}", settings, {"probe/error": job + 0.1 * seed}, state, reason=CANARY)
        table = path / f"{job}{seed}{name}" / "tables" / "metrics.csv"
        table.write_text(table.read_text().replace("px", '"' + CANARY.replace('"', '""') + '"'))
        rows.append((2 * job + seed, f"{job}{seed}{name}", f"model.likelihood={job}", CANARY, ""))
    pd.DataFrame(rows, columns=["job", "directory", "overrides", "hash", "skipped"]).to_csv(
        path / "plan.csv", index=False
    )
    (path / "meta.json").write_text(json.dumps({"kind": "sweep", "argv": [CANARY]}))
    return path


def test_no_name_becomes_markup(tmp_path, monkeypatch):
    monkeypatch.setattr("latentrun.report.sweep.HEADLINES", (("probe/error", "the error"),))
    path = hostile(tmp_path / "s")
    write_page(path)
    page = Elements((path / "report.html").read_text())
    assert not page.scripts and not [
        name for _, attributes in page.found for name in attributes if name.startswith("on")
    ]
    assert (
        policy(False) in [attributes.get("content") for attributes in page.of("meta")] and CANARY in page.text
    )
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in page.of("img"))
    assert all(attributes["href"].startswith(("#", "./")) for attributes in page.of("a"))


@needs_browser
def test_nothing_foreign_runs_in_a_browser(tmp_path, monkeypatch):
    monkeypatch.setattr("latentrun.report.sweep.HEADLINES", (("probe/error", "the error"),))
    path = hostile(tmp_path / "s")
    write_page(path)
    assert Elements(in_browser(path / "report.html", tmp_path)).title.strip() == "s"


# ---------------------------------------------------------------- the task
def test_the_task_reports_on_any_runs(tmp_path, capsys):
    source = sweep(
        tmp_path / "s", dims=(1, 2, 4), error=lambda dim, seed: 1 / dim + 0.01 * seed + 0.001 * dim * seed
    )
    out = f"output={tmp_path / 'out'}"
    assert (
        run("task=report", f"runs={source}", "where=model.latent_dim > 1", "metrics=[probe/error]", out) == 0
    )
    (path,) = tmp_path.glob("out/*/*_report")
    assert {file.name for file in path.iterdir()} == {
        "runs.csv",
        "by_seed.csv",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "plots",
        "report.html",
    }
    assert pd.read_csv(path / "runs.csv")[KEY].tolist() == [2, 2, 2, 4, 4, 4]
    ranked = pd.read_csv(path / "leaderboard.csv")
    assert ranked[KEY].tolist() == [4, 2] and ranked["verdict"].tolist() == [BEST, WORSE]
    links = [
        a["href"]
        for tag, a in Elements((path / "report.html").read_text()).found
        if tag == "a" and a["href"].startswith("./")
    ]
    assert len(links) == 6 and all(
        (path / link.replace("%3D", "=").replace("%2C", ",")).is_file() for link in links
    )
    assert "report on 6 runs" in capsys.readouterr().out
    job = next(source.glob("3_*"))
    assert run("task=report", f"runs={job}", out) == 0  # the name of a job holds = and ,


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs=nothing/*"], "runs: nothing is called 'nothing/*'"),
        (["runs=[]"], "runs: names no directory"),
        (["where=latent_dim > 1"], "where: 'latent_dim' is no column (did you mean 'model.latent_dim'?)"),
        (["where=model.latent_dim > 9"], "where: no run fulfils 'model.latent_dim > 9'"),
        (["metrics=[probe/eror]"], "metrics: no run has 'probe/eror' (did you mean 'probe/error'?)"),
        (
            ["by=[model.latentdim]"],
            "by: 'model.latentdim' is no setting of these runs (did you mean 'model.latent_dim'?)",
        ),
        (
            ["seed=1"],
            "seed: runs are used with their own settings; beside runs=[DIR,...]: output, device, threads, ",
        ),
        (["metrics=3"], "metrics: "),
    ],
)
def test_wrong_input_is_answered_in_one_line(tmp_path, capsys, arguments, said):
    source = sweep(tmp_path / "s")
    given = arguments if arguments[0].startswith("runs") else [f"runs={source}", *arguments]
    assert run("task=report", f"output={tmp_path / 'out'}", *given) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"latentrun: {said}") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_units_come_from_the_runs(tmp_path):
    table, _ = collect_sweep(sweep(tmp_path / "s"))
    assert meanings(table, tmp_path / "s") == {"probe/error": ("px", "lower", False)}
