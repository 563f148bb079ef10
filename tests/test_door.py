"""The one door: nothing below a directory is read, written, listed or removed by way of a link, and nothing
but plain files of bounded size comes out of it."""

from __future__ import annotations

import ast
import errno
import os
import re
import socket
from pathlib import Path

import pytest

from latentrun.errors import Absent, InputError
from latentrun.system import door, folders
from latentrun.system.door import Guarded
from latentrun.system.plain import MIB, open_plain

LIMIT = 100


@pytest.fixture(params=["by handles", "by paths"])
def root(request, tmp_path, monkeypatch):
    """A directory with a file, and outside it a file and a folder; on a system that can open folders, and on
    one that cannot."""
    if request.param == "by paths":
        monkeypatch.setattr(folders, "HANDLES", False)
        monkeypatch.setattr(folders, "FILE", folders.FILE & ~folders.NOFOLLOW)
    (tmp_path / "root" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "inner" / "a.txt").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text("outside")
    return tmp_path / "root"


def plant(root, kind):
    """Something else in the place of ``inner/a.txt``."""
    path = root / "inner" / "a.txt"
    path.unlink()
    if kind == "link":
        path.symlink_to(root.parent / "outside" / "a.txt")
    elif kind == "dangling link":
        path.symlink_to(root.parent / "outside" / "new.txt")
    elif kind == "folder on the way":
        (root / "inner").rmdir()
        (root / "inner").symlink_to(root.parent / "outside")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            here = os.getcwd()
            os.chdir(path.parent)  # the names of sockets are short
            one.bind(path.name)
            os.chdir(here)
    elif kind == "file in place of a folder":
        (root / "inner").rmdir()
        (root / "inner").write_text("")


KINDS = {
    "link": "is a link",
    "dangling link": "is a link",
    "folder on the way": "inner' is a link; a folder was expected",
    "FIFO": "is a FIFO; a plain file was expected",
    "folder": "is a folder; a plain file was expected",
    "socket": "is a socket",
    "file in place of a folder": "inner' is a file; a folder was expected",
}
READS = {
    "open": lambda file: file.opened(LIMIT),
    "bytes": lambda file: file.content(LIMIT),
    "text": lambda file: file.text(LIMIT),
    "lock": lambda file: file.is_held(),
}
WRITES = {
    "append": lambda file: file.appending(),
    "truncate": lambda file: file.truncate(0),
    "lock": lambda file: file.locked().__enter__(),
    "wait": lambda file: file.alone().__enter__(),
}


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", [*READS.items(), *WRITES.items()], ids=lambda pair: pair[0])
def test_only_plain_files_are_opened(root, kind, act):
    plant(root, kind)
    before = snapshot(root.parent / "outside")
    with pytest.raises(InputError, match=KINDS[kind]) as error:
        act[1](Guarded(root) / "inner" / "a.txt")
    assert "\n" not in str(error.value)
    assert snapshot(root.parent / "outside") == before


@pytest.mark.parametrize("kind", ["folder on the way", "folder", "file in place of a folder"])
def test_nothing_is_written_whole_by_way_of_a_link(root, kind):
    plant(root, kind)
    before = snapshot(root.parent)
    with pytest.raises(InputError, match=KINDS[kind]), (Guarded(root) / "inner" / "a.txt").writing() as file:
        file.write("new")
    assert snapshot(root.parent) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "socket"])
def test_what_is_written_whole_takes_the_place_of_anything(root, kind):
    plant(root, kind)
    before = snapshot(root.parent / "outside")
    with (Guarded(root) / "inner" / "a.txt").writing() as file:
        file.write("new")
    path = root / "inner" / "a.txt"
    assert not path.is_symlink() and path.read_text() == "new"
    assert snapshot(root.parent / "outside") == before


def test_a_full_disk_is_no_wrong_input_and_says_which_file(root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = Guarded(root) / "inner" / "a.txt"
    with monkeypatch.context() as patched:
        patched.setattr(door.os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device: .*inner/a.txt"), file.writing() as new:
            new.write("new")
    assert file.text(LIMIT) == "inside" and [item.name for item in file.parent.items()] == ["a.txt"]


def test_what_is_written_is_on_the_disk_before_it_takes_its_place(root, monkeypatch):
    """After a power cut the file is the old or the new one, whole."""
    file, events = Guarded(root) / "inner" / "a.txt", []
    fsync, rename = os.fsync, os.rename

    def synced(number):
        size = os.fstat(number).st_size
        events.append(("on the disk", size, file.text(LIMIT)))
        fsync(number)

    def renamed(*places, **folders):
        events.append(("renamed", *places))
        rename(*places, **folders)

    with monkeypatch.context() as patched:
        patched.setattr(door.os, "fsync", synced)
        patched.setattr(door.os, "rename", renamed)
        patched.setattr(door.os, "replace", renamed)
        with file.writing() as new:
            new.write("longer than a buffer" * 10_000)
    assert events[0] == ("on the disk", 200_000, "inside")  # whole, and the old one is still in its place
    assert [event[0] for event in events] == ["on the disk", "renamed"]


def test_a_planted_temporary_file_is_not_followed(root):
    partial = root / "inner" / f".a.txt.{os.getpid()}.part"
    partial.symlink_to(root.parent / "outside" / "a.txt")
    with (Guarded(root) / "inner" / "a.txt").writing() as file:
        file.write("new")
    assert (root.parent / "outside" / "a.txt").read_text() == "outside"
    assert [item.name for item in (Guarded(root) / "inner").items()] == ["a.txt"]


def test_what_fails_while_it_is_written_leaves_the_old(root):
    with pytest.raises(ZeroDivisionError), (Guarded(root) / "inner" / "a.txt").writing() as file:
        file.write("half")
        _ = 1 / 0
    assert snapshot(root)["inner/a.txt"][1] == b"inside" and len(snapshot(root)) == 2


def test_a_second_name_of_somebody_elses_file_is_not_written_through(root):
    outside = root.parent / "outside" / "a.txt"
    (root / "inner" / "b.txt").hardlink_to(outside)
    for act in WRITES.values():
        with pytest.raises(InputError, match="is a link"):
            act(Guarded(root) / "inner" / "b.txt")
    assert outside.read_text() == "outside"
    with (Guarded(root) / "inner" / "b.txt").writing() as file:
        file.write("new")
    assert outside.read_text() == "outside"


def test_large_files_are_refused_before_they_are_read(root):
    os.truncate(root / "inner" / "a.txt", 2**40)
    with pytest.raises(InputError, match="has 1,048,576 MiB; at most 1 MiB were expected"):
        (Guarded(root) / "inner" / "a.txt").content(MIB)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/etc/passwd", "a\0b", "a\\b", 7])
def test_names_are_plain(root, name):
    with pytest.raises(InputError, match="a plain name was expected"):
        Guarded(root) / name


def test_listing_and_removing_stay_inside(root):
    (root / "inner" / "out").symlink_to(root.parent / "outside")
    os.mkfifo(root / "inner" / "pipe")
    folder = Guarded(root) / "inner"
    kinds = {item.name: item.kind for item in folder.items()}
    assert kinds == {"a.txt": "a file", "out": "a link", "pipe": "a FIFO"}
    assert [file.name for file in folder.files()] == ["a.txt"] and folder.folders() == []
    assert (folder / "out" / "a.txt").is_file() is False
    with pytest.raises(InputError, match="out' is a link"):
        (folder / "out").items()
    with pytest.raises(InputError, match="out' is a link"):
        (folder / "out" / "a.txt").remove()
    with pytest.raises(InputError, match="out' is a link"):
        (folder / "out").checked()
    folder.remove_tree()
    assert (root.parent / "outside" / "a.txt").exists() and not (root / "inner").exists()


def test_the_root_itself_may_be_a_link(root):
    (root.parent / "named").symlink_to(root)
    assert (Guarded(root.parent / "named") / "inner" / "a.txt").text(LIMIT) == "inside"


def test_what_is_missing_is_said(root):
    for act in (READS["text"], WRITES["truncate"]):
        with pytest.raises(Absent, match="there is no"):
            act(Guarded(root) / "nowhere" / "a.txt")
    with pytest.raises(Absent, match="there is no directory"):
        (Guarded(root / "nowhere") / "a.txt").text(LIMIT)
    assert (Guarded(root) / "nowhere").items() == [] and not (Guarded(root) / "nowhere").exists()
    (Guarded(root) / "nowhere").remove()


def test_folders_are_made_on_the_way(root):
    with (Guarded(root / "new") / "a" / "b" / "c.csv").writing() as file:
        file.write("x\n")
    assert (root / "new" / "a" / "b" / "c.csv").read_text() == "x\n"


def test_a_lock_is_held_by_one(root):
    lock = Guarded(root) / "run.lock"
    with lock.locked() as first, lock.locked() as second:
        assert first and not second and lock.is_held()
    assert not lock.is_held() and not (Guarded(root) / "other.lock").is_held()


def test_a_copy_takes_the_place_of_another(root):
    file = Guarded(root) / "inner" / "a.txt"
    (root / "inner" / "before.txt").symlink_to(root.parent / "outside" / "a.txt")
    file.keep_copy("before.txt")
    with file.writing() as new:
        new.write("later")
    assert (root / "inner" / "before.txt").read_text() == "inside"
    assert (root.parent / "outside" / "a.txt").read_text() == "outside"
    assert len(list((root / "inner").iterdir())) == 2


def test_files_that_the_user_names_are_plain(root):
    (root / "link.txt").symlink_to(root.parent / "outside" / "a.txt")
    with open_plain(root / "link.txt", LIMIT) as file:
        assert file.read() == b"outside"
    os.mkfifo(root / "pipe")
    for path, kind in ((root / "pipe", "a FIFO"), (root, "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(InputError, match=f"is {kind}; a plain file was expected"):
            open_plain(path, LIMIT)
    with pytest.raises(InputError, match="at most 0 MiB"):
        open_plain(root / "inner" / "a.txt", 3)


# ---------------------------------------------------------------- nobody walks past it
ROOT = Path(__file__).parents[1] / "latentrun"
DOOR = {"system/door.py", "system/plain.py", "system/folders.py"}
# Functions that open, list, make, move or remove by a path, and methods of paths that do; of libraries what
# reads or writes a file, by its name or open.
FUNCTIONS = (
    r"open|io\.open|(shutil|glob|tempfile|sqlite3)\.\w+|(logging\.)?FileHandler|(zipfile\.)?ZipFile|gzip\.(open|GzipFile)"
    r"|os\.(open|listdir|scandir|f?walk|mkdir|makedirs|remove|removedirs|rename|renames|replace|unlink|rmdir|link"
    r"|symlink|truncate|mkfifo|chmod|utime)|pd\.read_\w+|(np|numpy)\.(load|save|savez\w*|loadtxt|genfromtxt|savetxt"
    r"|fromfile|memmap)|np\.lib\.format\.open_memmap|torch(\.jit)?\.(load|save)|Image\.open|EventFileWriter"
)
METHODS = (
    r"open|read_text|read_bytes|write_text|write_bytes|iterdir|glob|rglob|mkdir|rmdir|unlink|touch|symlink_to"
    r"|hardlink_to|chmod|tofile|save|savefig|write_html|write_image|rename_to"
)
# Who may, and what: what the user's own machine and options consist of, and libraries that are given files
# which are open already, or memory.
MAY = {
    "command/listing.py": {"file.read_text", "path.read_text"},  # options
    "command/values.py": {"files[0].read_text"},  # options
    "config/annotations.py": {"file.read_bytes"},  # code
    "config/fingerprint.py": {"Path(folder).rglob", "path.read_bytes"},  # code
    "config/options.py": {
        "open",
        "(folder / group).glob",
        "(shipped() / 'config.yaml').read_text",
        "folder.glob",
        "path.read_bytes",
        "path.read_text",
    },
    "system/disk.py": {"shutil.disk_usage", "tempfile.TemporaryDirectory"},
    "system/pipe.py": {"os.open"},  # the null device
    "system/machine.py": {"limit.read_text", "memory.read_text", "taken.read_text"},
    "nn/features.py": {"ZipFile", "torch.jit.load"},  # a program, which `trust` names
    "data/formats/idx.py": {"gzip.GzipFile"},
    "data/formats/images.py": {"Image.open", "archive.open", "np.memmap", "zipfile.ZipFile"},
    "plotting/animation.py": {"reduced[0].save"},
    "plotting/images.py": {"(whole if seen else few).save", "Image.open"},  # bytes just drawn
    "plotting/sprite.py": {"image.save"},
    "report/board.py": {"EventFileWriter", "Image.fromarray(...).save"},
    "report/projector.py": {"_image(sheet).save"},
    "store/archives.py": {"zipfile.ZipFile"},
    "store/directory.py": {"shutil.copyfileobj", "torch.save"},
    "store/intake.py": {"archive.open", "np.load", "pd.read_csv", "torch.load", "zipfile.ZipFile"},
    "store/reports.py": {"figure.savefig", "np.savez"},
    "tasks/encode.py": {"np.savez"},
    "tasks/sample.py": {"Image.fromarray(...).save", "ZipFile", "archive.open", "grid(...).savefig"},
}


def openings(code: str) -> set[str]:
    """The calls in a piece of code that open, list or change files."""
    calls = set()
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        moved = method == "rename" and node.args  # not of the columns of a table
        if re.fullmatch(FUNCTIONS, text) or re.fullmatch(METHODS, method) or moved:
            calls.add(re.sub(r"^(Image\.fromarray|grid)\(.*\)\.", r"\1(...).", text))
    return calls - {"glob.has_magic"}


def test_nothing_opens_a_file_but_by_the_door():
    calls = {str(path.relative_to(ROOT)): openings(path.read_text()) for path in ROOT.rglob("*.py")}
    past = {name: found - MAY.get(name, set()) for name, found in calls.items() if name not in DOOR}
    assert not {name: found for name, found in past.items() if found}
    assert {name: may - calls[name] for name, may in MAY.items() if may - calls[name]} == {}  # none too many


@pytest.mark.parametrize(
    "code",
    [
        "open(path)",
        "Path(a).open()",
        "(a / 'b').read_text()",
        "os.open(a, 0)",
        "for x in os.walk(a): pass",
        "np.load(a)",
        "torch.load(a)",
        "pd.read_csv(a)",
        "shutil.rmtree(a)",
        "[x for x in folder.rglob('*')]",
        "path.unlink()",
        "path.mkdir()",
        "a.rename(b)",
        "logging.FileHandler(a)",
        "os.replace(a, b)",
        "figure.savefig(a)",
    ],
)
def test_what_walks_past_is_seen(code):
    assert len(openings(code)) == 1
    assert openings("table.rename(columns=names); read_table(a); text.replace(a, b)") == set()
