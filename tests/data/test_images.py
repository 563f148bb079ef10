import io
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from latentrun.config.build import build
from latentrun.data import images
from latentrun.data.base import SPLITS, Dataset
from latentrun.data.formats.images import read_image
from latentrun.errors import InputError
from latentrun.system.door import Guarded

N = 40
LUMA = np.array([0.299, 0.587, 0.114])
GREY = np.random.default_rng(0).integers(0, 256, (6, 4), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 4, 3), np.uint8)


def make(path, **changes) -> images.Images:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf/data/images.yaml").read_text())
    return build({**values, "path": str(path), **changes}, Dataset, "data")


def together(data, what="x") -> torch.Tensor:
    """All rows in the order of the source."""
    rows = [data.split(name) for name in SPLITS]
    return torch.cat([getattr(part, what) for part in rows])[
        torch.cat([part.index for part in rows]).argsort()
    ]


def colours(n=N, h=5, w=4) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (n, h, w, 3), np.uint8)


def name(i: int) -> str:
    return f"{'ab'[i % 2]}/deep/{i:02d}.png"


NAMES = [name(i) for i in range(N)]


@pytest.fixture
def folder(tmp_path):
    """Colour pictures two folders deep, in two folders, with what is no picture beside them."""
    place = tmp_path / "pictures"
    for i, x in enumerate(colours()):
        (place / name(i)).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(place / name(i))
    (place / ".hidden.png").write_bytes(b"nothing")
    (place / "notes.txt").write_text("nothing")
    return place


@pytest.fixture
def table(tmp_path):
    """A table of the pictures in reverse order, with the columns given (texts by row)."""

    def write(key="file", names=NAMES, **columns) -> str:
        lines = [",".join([key, *columns])]
        lines += [
            ",".join([text, *(column[i] for column in columns.values())]) for i, text in enumerate(names)
        ]
        (tmp_path / "table.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
        return str(tmp_path / "table.csv")

    return write


# ---------------------------------------------------------------- pixels
def test_rows_are_the_files_in_the_order_of_their_names(folder):
    data = make(folder, labels="folders")
    order = [*range(0, N, 2), *range(1, N, 2)]  # all of a, then all of b
    np.testing.assert_array_equal(
        (together(data) * 255).round().numpy(), colours()[order].transpose(0, 3, 1, 2)
    )
    assert data.event_shape == (3, 5, 4) and data.value_range == (0.0, 1.0)
    assert together(data, "labels").tolist() == [0] * 20 + [1] * 20
    assert data.label == "class" and data.factors[0].categories == ("a", "b")
    assert together(data, "index").tolist() == list(range(N))


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp", "ppm", "jpg"])
def test_every_format_gives_its_pixels(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    Image.fromarray(smooth).save(
        path, **({"lossless": True} if ending == "webp" else {"quality": 100} if ending == "jpg" else {})
    )
    found = read_image(Guarded(path), (3, 32, 32)).transpose(1, 2, 0) * 255
    assert np.abs(found - smooth).max() <= (4 if ending == "jpg" else 1e-4)


def kinds() -> dict:
    """Pictures in every mode: what is stored, and the grey values in [0, 1] it stands for."""
    deep = GREY.astype(np.uint16) * 200 + 7
    alpha = GREY[::-1].copy()
    see_through = np.dstack([COLOUR, alpha])
    palette = Image.fromarray(COLOUR).quantize(24)
    tenth = GREY / 10
    over_white = (COLOUR * (alpha[..., None] / 255) + 255 - alpha[..., None]) @ LUMA / 255
    keyed = Image.fromarray(np.where(GREY > 99, 1, 0).astype(np.uint8))
    keyed.putpalette([10, 10, 10, 90, 90, 90])
    return {
        "bits.png": (Image.fromarray(GREY > 99), GREY > 99, {}),
        "grey.png": (Image.fromarray(GREY), GREY / 255, {}),
        "grey.gif": (Image.fromarray(GREY), GREY / 255, {}),
        "grey.pgm": (Image.fromarray(GREY), GREY / 255, {}),
        "deep.png": (Image.fromarray(deep), deep / 65535, {}),
        "deep.tif": (Image.fromarray(deep), deep / 65535, {}),
        "deep.pgm": (Image.fromarray(deep), deep / 65535, {}),
        "float.tif": (Image.fromarray(tenth.astype(np.float32)), tenth, {}),
        "colour.png": (Image.fromarray(COLOUR), COLOUR @ LUMA / 255, {}),
        "palette.png": (palette, np.asarray(palette.convert("RGB")) @ LUMA / 255, {}),
        "alpha.png": (Image.fromarray(see_through), over_white, {}),
        "grey_alpha.png": (
            Image.fromarray(np.dstack([GREY, alpha])),
            (GREY / 255.0 * alpha + 255 - alpha) / 255,
            {},
        ),
        "keyed.png": (keyed, np.where(GREY > 99, 1.0, 10 / 255), {"transparency": 1}),
        "print.tif": (Image.fromarray(255 - COLOUR).convert("CMYK"), (255 - COLOUR) @ LUMA / 255, {}),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_mode_stands_for_its_grey_values(tmp_path, kind):
    stored, expected, options = kinds()[kind]
    stored.save(tmp_path / kind, **options)
    one = read_image(Guarded(tmp_path) / kind, (1, 6, 4))
    exact = kind.partition(".")[0] in (
        "bits",
        "grey",
        "deep",
        "float",
    )  # the others are rounded to 8 bits on the way
    np.testing.assert_allclose(one[0], expected, atol=1e-6 if exact else 1.1 / 255)
    three = read_image(Guarded(tmp_path) / kind, (3, 6, 4))
    np.testing.assert_allclose(np.tensordot(LUMA, three, 1), expected, atol=1.1 / 255)


@pytest.mark.parametrize(
    "orientation, turn",
    [
        (1, lambda x: x),
        (3, lambda x: x[::-1, ::-1]),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: np.rot90(x, 2).T),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_pictures_are_turned_as_their_camera_says(tmp_path, orientation, turn, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if ending == "webp" else {}
    for i in range(9):
        Image.fromarray(GREY).save(tmp_path / f"{i}.{ending}", exif=exif, **options)
    data = make(tmp_path, mode="grey")
    assert data.event_shape == (1, *turn(GREY).shape)
    np.testing.assert_allclose(together(data)[0, 0] * 255, turn(GREY), atol=1e-4)


# ---------------------------------------------------------------- one size, one mode
def test_shrinking_averages_and_files_agree_with_arrays(tmp_path):
    board = np.indices((64, 48)).sum(0) % 2 * 255
    x = np.stack([board, np.linspace(0, 255, 64 * 48).reshape(64, 48), *colours(12, 64, 48)[..., 0]]).astype(
        np.uint8
    )
    for i, one in enumerate(x):
        Image.fromarray(one).save(tmp_path / f"{i:02d}.png")
    np.save(tmp_path / "x.npy", x)
    files, array = (together(make(path, size=[8, 6])) for path in (tmp_path, tmp_path / "x.npy"))
    assert files.shape == (14, 1, 8, 6) and (files - array).abs().max() < 1.1 / 255
    assert (
        array[0] - 0.5
    ).abs().max() < 0.02  # a checkerboard becomes grey; taking every eighth pixel would give 0 or 1
    blocks = (
        x[1].reshape(8, 8, 6, 8).mean((1, 3)) / 255
    )  # a ramp keeps the mean of every block, away from the border
    np.testing.assert_allclose(array[1, 0, 1:-1, 1:-1], blocks[1:-1, 1:-1], atol=1e-3)


def test_a_large_jpeg_is_decoded_small(tmp_path):
    wide = np.zeros((1600, 2400, 3), np.uint8)
    wide[:, 1200:] = (200, 100, 50)
    Image.fromarray(wide).save(tmp_path / "x.jpg", quality=95)
    found = read_image(Guarded(tmp_path) / "x.jpg", (3, 20, 30))
    np.testing.assert_allclose(
        found[:, :, 20:],
        np.broadcast_to(np.array([200, 100, 50])[:, None, None] / 255, (3, 20, 10)),
        atol=0.01,
    )
    assert found[:, :, :14].max() < 0.01


def test_auto_is_grey_until_one_picture_has_colour(tmp_path):
    palette = Image.fromarray(GREY).quantize(8)
    for i in range(10):
        (Image.fromarray(GREY) if i % 2 else palette).save(tmp_path / f"{i}.png")
    data = make(tmp_path)
    assert data.event_shape == (1, 6, 4) and "taken as grey" in data.notes[0] and "P 5" in data.notes[0]
    Image.fromarray(COLOUR).save(tmp_path / "9.png")
    data = make(tmp_path)
    assert data.event_shape == (3, 6, 4) and "taken as rgb" in data.notes[0] and "RGB 1" in data.notes[0]
    assert make(tmp_path, mode="grey").event_shape == (1, 6, 4)


# ---------------------------------------------------------------- arrays
def test_arrays_in_every_layout_and_type(tmp_path):
    x = colours()
    layouts = {
        "last": x,
        "first": x.transpose(0, 3, 1, 2),
        "fortran": np.asfortranarray(x),
        "deep": x.astype(">u2") * 257,
    }
    layouts |= {"float": x / 255, "half": (x / 255).astype(np.float16)}
    for kind, array in layouts.items():
        np.save(tmp_path / f"{kind}.npy", array)
        data = make(tmp_path / f"{kind}.npy")
        assert data.event_shape == (3, 5, 4)
        np.testing.assert_allclose(
            together(data), x.transpose(0, 3, 1, 2) / 255, atol=1e-3 if kind == "half" else 1e-6
        )
    np.testing.assert_allclose(
        together(make(tmp_path / "last.npy", mode="grey"))[:, 0], x @ LUMA / 255, atol=1e-6
    )
    for kind, array in {"flat": x[..., 0], "one": x[..., :1], "bits": x[..., 0] > 99}.items():
        np.savez(tmp_path / f"{kind}.npz", images=array)
        expected = array.reshape(N, 1, 5, 4) / (1 if kind == "bits" else 255)
        np.testing.assert_allclose(together(make(tmp_path / f"{kind}.npz")), expected, atol=1e-6)
    assert make(tmp_path / "flat.npz", mode="rgb").split("test").x.shape[1:] == (3, 5, 4)


def test_what_a_npz_file_says_beside_its_pictures(tmp_path):
    path, place = tmp_path / "x.npz", np.random.default_rng(0).normal(size=(N, 2))
    np.savez_compressed(path, x=colours(), labels=np.arange(N) % 12, y=place)
    data = make(path)
    assert [(f.name, f.kind) for f in data.factors] == [
        ("y0", "real"),
        ("y1", "real"),
        ("labels", "categorical"),
    ]
    assert data.label == "labels" and data.factors[2].categories == tuple(map(str, range(12)))
    np.testing.assert_allclose(together(data, "y")[:, :2], place, rtol=1e-6)
    assert together(data, "labels").tolist() == [i % 12 for i in range(N)]
    np.savez(path, x=colours(), y=np.array(["cat", "dog"])[np.arange(N) % 2])
    assert make(path).label == "y" and make(path).factors[0].categories == ("cat", "dog")


def test_floating_point_numbers_keep_their_range(tmp_path):
    path, x = tmp_path / "x.npy", np.random.default_rng(0).uniform(-3, 5, (N, 6, 5))
    np.save(path, x)
    data = make(path, value_range=[-3, 5])
    assert data.value_range == (-3.0, 5.0)
    np.testing.assert_allclose(together(data)[:, 0], x, rtol=1e-6)
    with pytest.raises(
        InputError,
        match=rf"value_range: values in .* go from {x.min():.6g} to {x.max():.6g}, not within \[0, 1\]; set",
    ):
        make(path).split("train")
    x[[7, 30], 2, 2] = np.nan, np.inf
    np.save(path, x)
    with pytest.raises(InputError, match=r"not finite in row '7', '30'$"):
        make(path, value_range=[-3, 5]).split("train")


# ---------------------------------------------------------------- factors
def test_a_table_gives_factors_by_file_name(folder, table):
    level, size = np.arange(N) % 7, np.random.default_rng(0).normal(size=N)
    made = table(kind=["x", "y"] * 20, size=[repr(s) for s in size.tolist()], level=[str(v) for v in level])
    data = make(folder, table=made, labels="kind")
    assert [(f.name, f.kind) for f in data.factors] == [
        ("kind", "categorical"),
        ("size", "real"),
        ("level", "ordinal"),
    ]
    order = [*range(0, N, 2), *range(1, N, 2)]
    np.testing.assert_allclose(together(data, "y")[:, 1:], np.stack([size, level], 1)[order], rtol=1e-6)
    assert together(data, "labels").tolist() == [i % 2 for i in order] and data.label == "kind"
    assert (data.factors[2].low, data.factors[2].high) == (0.0, 6.0)
    less = make(folder, table=made, labels="level", factors=["size"])
    assert [(f.name, f.kind) for f in less.factors] == [("size", "real"), ("level", "categorical")]
    assert make(folder, table=made, labels="folders").factors[0].name == "class"


def test_a_table_names_the_rows_of_an_array(tmp_path, table):
    np.save(tmp_path / "x.npy", colours())
    made = table("row", [str(i) for i in range(N)], twice=[str(2 * i) for i in range(N)])
    assert together(make(tmp_path / "x.npy", table=made), "y")[:, 0].tolist() == [2.0 * i for i in range(N)]


COUNT = [str(i) for i in range(N)]
TABLES = {
    r"names 'a/deep/1.png', not in .* \(did you mean 'a/deep/1\d.png'\?\)$": dict(
        names=["a/deep/1.png", *NAMES[1:]], v=COUNT
    ),
    r"has no line for file 'a/deep/32.png', 'a/deep/34.png', 'a/deep/36.png' and 5 more, of 40$": dict(
        names=NAMES[:32], v=COUNT
    ),
    r"has several lines for file 'b/deep/01.png'$": dict(names=[*NAMES, NAMES[1]], v=[*COUNT, "1"]),
    r"has no value of 'v' for file 'a/deep/00.png'$": dict(v=["", *COUNT[1:]]),
    r"data.factors: 'v' is '5' for every picture; data.factors=\[...\] can leave it out$": dict(v=["5"] * N),
    r"data.factors: 'v' has 40 classes in 40 rows, too few rows for each; data.factors": dict(
        v=[f"n{i}" for i in range(N)]
    ),
    r"data.factors: 'v' is 'inf' for a picture; data.factors": dict(v=["inf", *COUNT[1:]]),
    r"cannot be read: line 2 has 3 values; the first line names 2 columns$": dict(v=["1,2"] * N),
}


@pytest.mark.parametrize("says", TABLES)
def test_tables_that_do_not_fit(folder, table, says):
    with pytest.raises(InputError, match=says) as error:
        make(folder, table=table(**TABLES[says]))
    assert "\n" not in str(error.value)


def test_labels_and_factors_that_are_not_there(folder, table):
    made = table(weight=[str(i / 3) for i in range(N)], kind=["x", "y"] * 20)
    with pytest.raises(
        InputError, match=r"unknown data.labels 'knd' \(did you mean 'kind'\?\); known: folders, kind, weight"
    ):
        make(folder, table=made, labels="knd")
    with pytest.raises(InputError, match=r"unknown data.factors 'wight' \(did you mean 'weight'\?\)"):
        make(folder, table=made, factors=["wight"])
    with pytest.raises(InputError, match="data.labels: 'weight' holds real numbers"):
        make(folder, table=made, labels="weight")
    with pytest.raises(InputError, match="data.table: there is no '.*/tabel.csv' .did you mean 'table.csv'"):
        make(folder, table=str(Path(made).with_name("tabel.csv")))
    Image.fromarray(colours(1)[0]).save(folder / "loose.png")
    with pytest.raises(InputError, match="data.labels: folders: 'loose.png' in .* itself"):
        make(folder, labels="folders")


# ---------------------------------------------------------------- what is refused
def broken(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "bomb":
        Image.new("1", (20000, 5000)).save(buffer, "PNG")
    elif kind == "eps":
        Image.fromarray(COLOUR).save(buffer, "EPS")
    elif kind == "cut":
        Image.fromarray(colours(1, 64, 64)[0]).save(buffer, "PNG")
        return buffer.getvalue()[:-2000]
    return buffer.getvalue() or {"empty": b"", "text": b"just a text"}[kind]


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("empty", "it is empty"),
        ("text", "it is not a picture"),
        ("eps", "it is not a picture"),
        ("bomb", "more than 89,478,485 pixels"),
    ],
)
def test_files_that_are_no_pictures_are_named_at_once(folder, kind, reason):
    (folder / "a/bad.png").write_bytes(broken(kind))
    with pytest.raises(InputError, match=rf"data.path: '.*/a/bad.png' cannot be read: {reason}"):
        make(folder)


def test_a_file_that_ends_too_early_is_named_when_it_is_read(folder):
    (folder / "a/bad.png").write_bytes(broken("cut"))
    data = make(folder, size=[8, 8])
    with pytest.raises(
        InputError, match=r"data.path: '.*/a/bad.png' cannot be read: image file is truncated"
    ):
        data.split("train")


def test_a_link_in_the_place_of_a_picture_is_refused(folder):
    (folder / "a/link.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(InputError, match=r"data.path: '.*link.png' is a link; a plain file was expected"):
        make(folder)


def test_sizes_that_differ_name_the_first_that_does(folder):
    Image.fromarray(GREY).save(folder / "b/x.png")
    with pytest.raises(
        InputError,
        match=r"data.size: 'b/x.png' is 6 x 4 \(height x width\) and 'a/deep/00.png' 5 x 4; "
        r"data.size=\[5,4\]",
    ):
        make(folder)
    assert make(folder, size=[5, 4]).event_shape == (3, 5, 4)


def test_places_without_pictures(folder):
    with pytest.raises(
        InputError, match=r"data.path: there is no '.*/pictrues' \(did you mean 'pictures'\?\)$"
    ):
        make(folder.with_name("pictrues"))
    with pytest.raises(
        InputError, match=r"there is no '.*/picture/a', nor '.*/picture' \(did you mean 'pictures'\?\)$"
    ):
        make(folder.with_name("picture") / "a")
    with pytest.raises(InputError, match="is neither a folder of pictures nor a .npy or .npz file"):
        make(folder / "notes.txt")
    for path in folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(
        InputError,
        match=r"no pictures in '.*', which holds 1 files with other endings: '.txt'; known endings: .png, ",
    ):
        make(folder)


def test_too_few_pictures(tmp_path):
    np.save(tmp_path / "x.npy", colours(5))
    with pytest.raises(
        InputError,
        match="data.path: 5 pictures in .* cannot fill train, val and test rows with val_fraction=0.1",
    ):
        make(tmp_path / "x.npy")
    assert [len(make(tmp_path / "x.npy", val_fraction=0.3).split(part).x) for part in SPLITS] == [3, 1, 1]


class Canary:
    def __reduce__(self):
        return Path.touch, (Path("canary"),)


def test_arrays_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = colours()
    np.save("pickled.npy", np.array([Canary()], object))
    np.savez("pickled.npz", x=np.array([Canary()], object), labels=np.array([Canary()], object))
    np.savez("names.npz", data=whole)
    np.savez("rows.npz", x=whole, labels=np.arange(3))
    np.save("int.npy", whole.astype(np.int64))
    np.save("shape.npy", whole[0, 0])
    np.save("either.npy", np.zeros((9, 3, 5, 3)))
    Path("cut.npy").write_bytes(Path("int.npy").read_bytes()[:-9])
    Path("text.npy").write_text("no array")
    Path("text.npz").write_text("no archive")
    reasons = {
        "pickled.npy": "cannot be read: .*Python objects",
        "pickled.npz": "cannot be read: Object arrays cannot be loaded when allow_pickle=False",
        "names.npz": "has no array x or images; it has data$",
        "rows.npz": "labels in 'rows.npz' has 3 rows for 40 pictures",
        "int.npy": "holds int64; allowed: bool, uint8, uint16, floating point",
        "shape.npy": r"has shape \(4, 3\); needed: ",
        "either.npy": r"has shape \(9, 3, 5, 3\); needed: ",
        "cut.npy": "cannot be read: mmap length",
        "text.npy": "cannot be read: ",
        "text.npz": "cannot be read: File is not a zip file",
    }
    for file, reason in reasons.items():
        with pytest.raises(InputError, match=reason) as error:
            make(file)
        assert "\n" not in str(error.value)
    assert not Path("canary").exists()
    np.save("whole.npy", whole)
    with pytest.raises(InputError, match="data.value_range: is for floating-point pictures"):
        make("whole.npy", value_range=[0, 255])
    with pytest.raises(InputError, match="data.labels: folders: 'whole.npy' is one file"):
        make("whole.npy", labels="folders")


def test_what_does_not_fit_the_memory_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(images, "free_memory", lambda: 2**20)
    with pytest.raises(
        InputError,
        match=r"40 pictures of 3 x 64 x 64 take 0.00183 GiB, more than 60% of the 0.000977 GiB of "
        r"free memory",
    ):
        make(folder, size=[64, 64]).split("train")
    few, again = make(folder, size=[64, 64]), make(folder, size=[64, 64])
    few.rows = again.rows = 3
    chosen = [few.split(part).index for part in SPLITS]
    for i in set(range(N)) - set(torch.cat(chosen).tolist()):  # the other files are not even opened
        (folder / few.source.names[i]).unlink()
    assert (
        all(torch.equal(again.split(part).x, few.split(part).x) for part in SPLITS)
        and len(torch.cat(chosen)) == 9
    )
