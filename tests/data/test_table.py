"""Tables come back from their encoding as they were written, and what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from latentrun.config.build import build
from latentrun.data.base import SPLITS, Dataset
from latentrun.data.table import Table
from latentrun.errors import InputError
from tests.conformance.parts import values_in
from tests.planted import Rows, table_file


def make(file: Path, **changes) -> Table:
    values = values_in(Path(__file__).parents[2] / "conf/data/table.yaml")
    return build(values | {"file": str(file)} | changes, Dataset, "data")


@pytest.fixture
def planted(tmp_path):
    return table_file(tmp_path / "planted.csv")


def cycle(folder: Path, n: int = 40, **columns) -> Path:
    """A file of n rows that repeat the values of each column."""
    frame = pd.DataFrame(
        {name: [values[i % len(values)] for i in range(n)] for name, values in columns.items()}
    )
    frame.to_csv(folder / "file.csv", index=False)
    return folder / "file.csv"


def kinds(data: Table) -> dict[str, str]:
    return {column.name: column.kind for column in data.columns}


def test_every_row_comes_back(planted):
    data, source = make(planted), pd.read_csv(planted)
    assert kinds(data) == {
        "price": "real",
        "age": "real",
        "noise": "real",
        "size": "ordinal",
        "grade": "categorical",
        "quarter": "categorical",
        "side": "categorical",
        "dice": "categorical",
    }
    assert data.event_shape == (4 + 3 + 4 + 2 + 3,)
    for name in SPLITS:
        rows = data.split(name)
        back, truth = data.frame(rows.x), source.iloc[rows.index.numpy()].reset_index(drop=True)
        pd.testing.assert_frame_equal(back, truth, check_dtype=False, rtol=1e-5, atol=1e-5)
    train = data.split("train").x
    assert (
        train[:, :4].mean(0).abs().max() < 1e-6 and (train[:, :4].std(0, correction=0) - 1).abs().max() < 1e-5
    )
    for column in data.columns:
        if column.kind == "categorical":
            block = data.split("test").x[:, column.start : column.start + column.width]
            assert torch.equal(block.sum(1), torch.ones(len(block))) and set(block.unique().tolist()) == {
                0.0,
                1.0,
            }


def test_declared_kinds_and_the_order_of_levels(planted):
    data = make(planted, columns={"grade": ["low", "middle", "high"], "size": "categorical", "price": "real"})
    found = {column.name: column for column in data.columns}
    assert found["grade"].kind == "ordinal" and found["grade"].categories == ("low", "middle", "high")
    assert found["size"].kind == "categorical" and found["size"].categories == ("1", "2", "3", "4")
    source = pd.read_csv(planted)["grade"].map({"low": 0, "middle": 1, "high": 2}).to_numpy()
    rows = data.split("val")
    level = rows.x[:, found["grade"].start] * found["grade"].scale + found["grade"].mean
    assert level.numpy() == pytest.approx(source[rows.index.numpy()], abs=1e-5)
    assert kinds(make(planted, columns={"side": "categorical", "size": "ordinal"}, infer=False)) == {
        "size": "ordinal",
        "side": "categorical",
    }


def test_factors_and_label_are_taken_out_of_x(planted):
    data, source = make(planted, factors=["age", "size", "dice"], label="quarter"), pd.read_csv(planted)
    assert not {"age", "size", "dice", "quarter"} & set(kinds(data))
    assert [factor.kind for factor in data.factors] == ["real", "ordinal", "categorical", "categorical"]
    rows = data.split("train")
    truth = source.iloc[rows.index.numpy()]
    assert rows.y[:, 0].numpy() == pytest.approx(truth["age"].to_numpy(), rel=1e-5)
    assert np.array_equal(rows.y[:, 1].numpy(), truth["size"].to_numpy())  # numbers stay what they are
    assert [data.factors[2].categories[int(i)] for i in rows.y[:, 2]] == truth["dice"].tolist()
    assert (
        data.label == "quarter"
        and [data.factors[3].categories[i] for i in rows.labels] == truth["quarter"].tolist()
    )


def test_what_says_nothing_is_left_out_and_said(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "": range(7, 57),
            "id": [f"k{i}" for i in range(50)],
            "one": "same",
            "void": "",
            "x": rng.normal(size=50),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = make(tmp_path / "t.csv")
    assert list(kinds(data)) == ["x"]
    said = next(note for note in data.notes if note.startswith("Left out"))
    for part in (
        "column 1 (it counts the rows)",
        "id (its texts differ in every row)",
        "one (it is always 'same')",
        "void (it has no values)",
    ):
        assert part in said


def test_notes_show_every_column(planted):
    notes = make(planted, columns={"size": "ordinal"}, factors=["age"]).notes
    text = " ".join(notes)
    assert (
        "size 1 to 4 in 4 levels" in text
        and "quarter (northeast | northwest | southeast | southwest)" in text
    )
    assert (
        "2 real columns: price" in text
        and "Beside x: age" in text
        and "The kinds of price, noise, grade" in text
    )


# ---------------------------------------------------------------- missing values
@pytest.fixture
def holes(tmp_path):
    frame = pd.read_csv(table_file(tmp_path / "planted.csv"))
    frame.loc[[3, 5], "price"] = np.nan
    frame.loc[[5, 9, 11], "grade"] = None
    frame.loc[[20], "size"] = np.nan
    frame.to_csv(tmp_path / "holes.csv", index=False)
    return tmp_path / "holes.csv"


def test_missing_values_are_refused_with_their_counts(holes):
    with pytest.raises(
        InputError, match=r"missing values \(price 2, size 1, grade 3\); data.missing=rows, columns or fill"
    ):
        make(holes).event_shape  # noqa: B018


def test_rows_and_columns_with_missing_values_are_left_out(holes):
    data = make(holes, missing="rows")
    index = torch.cat([data.split(name).index for name in SPLITS])
    assert len(index) == 295 and not set(index.tolist()) & {3, 5, 9, 11, 20}
    assert any("price 2" in note and "5 of 300" in note for note in data.notes)
    assert set(kinds(make(holes, missing="columns"))) == {"age", "noise", "quarter", "side", "dice"}
    with pytest.raises(InputError, match="data.missing=rows or fill"):
        make(holes, missing="columns", factors=["price"]).event_shape  # noqa: B018


def test_filling_takes_training_medians_and_a_category_of_its_own(holes):
    data, source = make(holes, missing="fill"), pd.read_csv(holes)
    everything = pd.concat(
        [data.frame(data.split(name).x).set_index(data.split(name).index.numpy()) for name in SPLITS]
    )
    train = source.loc[data.split("train").index.numpy()]
    assert everything.loc[3, "price"] == pytest.approx(
        train["price"].dropna().quantile(interpolation="lower"), rel=1e-5
    )
    assert everything.loc[20, "size"] == train["size"].median()
    assert everything.loc[[5, 9, 11], "grade"].tolist() == ["missing"] * 3
    assert (everything["grade"] == "missing").sum() == 3


# ---------------------------------------------------------------- new rows for an old model
def test_new_rows_are_encoded_as_the_old_ones(planted, tmp_path):
    reference = make(planted, factors=["age"], label="side")
    part = pd.read_csv(planted).iloc[100:160]
    part[["dice", "size", "quarter", "noise", "grade", "price", "side"]].to_csv(
        tmp_path / "new.csv", index=False
    )
    new = make(tmp_path / "new.csv")
    new.align(reference)
    assert (
        new.columns == reference.columns
        and [factor.name for factor in new.factors] == ["side"]
        and new.label == "side"
    )
    old = {
        int(i): (x, k)
        for name in SPLITS
        for i, x, k in zip(
            *(getattr(reference.split(name), f) for f in ("index", "x", "labels")), strict=True
        )
    }
    for name in SPLITS:
        rows = new.split(name)
        for i, x, label in zip(rows.index.tolist(), rows.x, rows.labels, strict=True):
            assert torch.equal(x, old[i + 100][0]) and label == old[i + 100][1]


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda f: f.rename(columns={"price": "prise"}),
            "has no column 'price', which the model was trained on (did you mean 'prise'?)",
        ),
        (
            lambda f: f.assign(quarter=f["quarter"].replace("northeast", "northeest")),
            "'northeest' is none of its 4 categories",
        ),
        (lambda f: f.assign(size=f["size"].replace(2, 9)), "'9' is none of its 4 levels (1, 2, 3, 4)"),
        (lambda f: f.assign(price="cheap"), "line 2, column 'price': 'cheap' is no finite number"),
        (lambda f: f.assign(price=""), "missing values (price 300)"),
    ],
)
def test_new_rows_that_do_not_fit(planted, tmp_path, change, said):
    change(pd.read_csv(planted)).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(InputError) as error:
        make(tmp_path / "new.csv").align(make(planted))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_new_rows_are_filled_as_the_training_rows(planted, tmp_path):
    reference = make(planted, missing="fill")
    frame = pd.read_csv(planted)
    frame.loc[0, "price"] = np.nan
    frame.to_csv(tmp_path / "new.csv", index=False)
    new = make(tmp_path / "new.csv", missing="fill")
    new.align(reference)
    rows = {
        int(i): x for name in SPLITS for i, x in zip(new.split(name).index, new.split(name).x, strict=True)
    }
    train = reference.frame(reference.split("train").x)["price"]
    assert reference.frame(rows[0][None])["price"][0] == pytest.approx(
        train.quantile(interpolation="lower"), rel=1e-5
    )
    frame["grade"] = frame["grade"].mask(frame.index == 4)
    frame.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(
        InputError, match="column 'grade' has missing values, and no training row says how to fill them"
    ):
        make(tmp_path / "new.csv", missing="fill").align(reference)


def test_only_tables_align_to_tables(planted):
    with pytest.raises(InputError, match="a table cannot be aligned to Rows"):
        make(planted).align(Rows(torch.zeros(3, 2)))


# ---------------------------------------------------------------- what is wrong
@pytest.mark.parametrize(
    "columns, changes, said",
    [
        ({"a": [1.5, 2, 3]}, {"columns": {"b": "real"}}, "unknown column in data.columns 'b'; known: a"),
        (
            {"price": [1.5, 2, 3]},
            {"drop": ["prize"]},
            "unknown column in data.drop 'prize' (did you mean 'price'?)",
        ),
        ({"a": [1, 2]}, {"factors": ["b"]}, "unknown column in data.factors 'b'"),
        ({"a": [1, 2]}, {"label": "b"}, "unknown column in data.label 'b'"),
        ({"a": [1, 2]}, {"label": "a", "drop": ["a"]}, "data.drop: column 'a' is also named in data.label"),
        ({"a": [1, 2]}, {"label": "a"}, "leaves no column for x"),
        ({"a": [1]}, {}, "leaves no column for x (a it is always '1')"),
        (
            {"a": ["1", "2", "inf"]},
            {"columns": {"a": "real"}},
            "line 4, column 'a': 'inf' is no finite number",
        ),
        ({"a": ["1", "2", "inf"]}, {}, "line 4, column 'a': 'inf' is no finite number"),
        ({"a": ["1", "two"]}, {"columns": {"a": "real"}}, "line 3, column 'a': 'two' is no finite number"),
        (
            {"a": ["small", "big"]},
            {"columns": {"a": "ordinal"}},
            "need an order: 'data.columns={a: [low, high]}'",
        ),
        (
            {"a": ["small", "big"]},
            {"columns": {"a": ["small", "bigg"]}},
            "'big' is none of its 2 levels (small, bigg) (did you mean",
        ),
        ({"a": ["small", "big"]}, {"columns": {"a": ["big", "big"]}}, "names a level twice"),
        (
            {"a": ["small", "big"]},
            {"columns": {"a": "reel"}},
            "data.columns.a: 'reel' is not allowed (did you mean 'real'?)",
        ),
        ({"a": [f"k{i}" for i in range(30)]}, {"max_categories": 20}, "column 'a' has 30 categories"),
        (
            {"a": [*map(str, range(19)), "n.a."]},
            {},
            "line 21, column 'a': 'n.a.' among numbers; add it to data.missing_values",
        ),
        (
            {"a": [1, 2]},
            {"separator": "::"},
            "data.separator: '::' is not allowed; allowed: auto or one character",
        ),
    ],
)
def test_wrong_columns_are_named(tmp_path, columns, changes, said):
    file = cycle(tmp_path, **columns)
    with pytest.raises(InputError) as error:
        make(file, **changes).event_shape  # noqa: B018
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "the file is empty"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 values; the first line names 2 columns"),
        ("a,b\nä,2\n".encode("latin-1"), "is not a text in UTF-8 (byte 4)"),
        (b"a,b\n1.5,2\n2,3\n", "has 2 complete rows, too few for a training, validation and test split"),
        (b"PK\x03\x04\xff\x00", "is not a text in UTF-8"),
    ],
)
def test_wrong_files_are_named(tmp_path, content, said):
    (tmp_path / "homes.csv").write_bytes(content)
    with pytest.raises(InputError) as error:
        make(tmp_path / "homes.csv").event_shape  # noqa: B018
    assert said in str(error.value) and "homes.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_label_of_real_numbers_is_none(tmp_path):
    file = cycle(tmp_path, price=[0.5, 1.25, 2.5], size=[1, 2, 3])
    with pytest.raises(
        InputError, match=r"data.label: column 'price' holds real numbers \(0.5, 1.25, 2.5, ...\)"
    ):
        make(file, label="price").event_shape  # noqa: B018
    assert make(file, label="size").label == "size"
    assert make(file, label="price", columns={"price": "categorical"}).label == "price"


def test_decimal_commas_are_numbers(tmp_path):
    text = "price;kind\n" + "".join(f"{i / 8};{'ab'[i % 2]}\n" for i in range(40)).replace(".", ",")
    (tmp_path / "t.csv").write_text(text)
    data = make(tmp_path / "t.csv")
    assert kinds(data) == {"price": "real", "kind": "categorical"}
    assert data.frame(data.split("train").x)["price"].max() <= 39 / 8


def test_a_device_is_no_file(tmp_path):
    with pytest.raises(InputError, match="'/dev/zero' is a device; a plain file was expected"):
        make(Path("/dev/zero"))


def test_a_file_that_is_not_there_has_a_nearest_name(tmp_path):
    (tmp_path / "homes.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"there is no file .* \(did you mean 'homes.csv'\?\)"):
        make(tmp_path / "house.csv")
    with pytest.raises(InputError, match="there is no folder"):
        make(tmp_path / "data" / "homes.csv")
    with pytest.raises(InputError, match="is a folder"):
        make(tmp_path)


def test_other_separators_and_marks_of_missing_values(tmp_path):
    text = "\ufeffname;value\r\n" + "".join(
        f"{'ab'[i % 2]};{'-' if i == 3 else i / 7}\r\n" for i in range(40)
    )
    (tmp_path / "t.csv").write_bytes(text.encode())
    data = make(tmp_path / "t.csv", missing_values=["-"], missing="rows")
    assert (
        kinds(data) == {"name": "categorical", "value": "real"}
        and sum(len(data.split(name).x) for name in SPLITS) == 39
    )
