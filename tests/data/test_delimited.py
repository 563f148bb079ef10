"""Cells come out as they stand in the text, and what is no table is named with its line."""

import pytest

from latentrun.data.formats.delimited import cells


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("asked", ["auto", None])
def test_cells_are_texts_without_outer_spaces(separator, asked):
    text = (
        separator.join(["a", "b", "c"])
        + "\r\n"
        + separator.join(["1", ' "x" ', ""])
        + "\n\n"
        + separator.join(["NA", "2.50 ", "é"])
        + "\n"
    )
    frame, lines = cells(text, asked or separator, ["", "NA"])
    assert frame.columns.tolist() == ["a", "b", "c"] and lines == [2, 4]
    assert frame.isna().to_numpy().tolist() == [[False, False, True], [True, False, False]]
    assert frame["b"].tolist() == ['"x"', "2.50"] and frame["c"][1] == "é"


def test_quotes_hold_separators_and_line_ends():
    frame, lines = cells('a,"b, c"\n"1\n2",3\n4,5\n', "auto", [])
    assert frame.to_dict("list") == {"a": ["1\n2", "4"], "b, c": ["3", "5"]} and lines == [3, 4]


def test_a_column_without_a_name_gets_one():
    assert cells(",a,\n1,2,3\n", ",", [])[0].columns.tolist() == ["column 1", "a", "column 3"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "2 columns are named, but no row follows"),
        ("a,b,a\n1,2,3\n", "two columns are called 'a'"),
        ("a,b\n1,2\n\n3\n", "line 4 has 1 values; the first line names 2 columns"),
        ("a,b\n1,2,3\n", "line 2 has 3 values; the first line names 2 columns"),
        ('a,b\n1,"2\n', "line 2 cannot be read: unexpected end of data"),
        ("a;b\nx;1,250\ny;20\n", "column 'b': '1,250' has a decimal comma, or one between thousands"),
    ],
)
def test_what_is_no_table(text, said):
    with pytest.raises(ValueError, match=said):
        cells(text, "auto", [""])


@pytest.mark.parametrize(
    ("column", "read"),
    [
        (["1,5", "2", "-,25", "3,1e-4"], ["1.5", "2", "-.25", "3.1e-4"]),
        (["1,250", "2,5"], ["1.250", "2.5"]),
        (["1.5", "2,5"], ["1.5", "2,5"]),  # half of them are no mistake
        (["a,b", "c"], ["a,b", "c"]),
        (["1", "2"], ["1", "2"]),
        ([*["1,5"] * 19, "1.234,5"], [*["1.5"] * 19, "1.234,5"]),  # said where kinds are inferred
    ],
)
def test_decimal_commas_become_points_where_no_comma_separates(column, read):
    frame, _ = cells("a;b\n" + "".join(f"{value};x\n" for value in column), "auto", [""])
    assert frame["a"].tolist() == read
    quoted = "a,b\n" + "".join(f'"{value}",x\n' for value in column)
    assert cells(quoted, "auto", [""])[0]["a"].tolist() == column
