"""The zip archives that torch and numpy write, checked for damage before anybody believes what is in them."""

from __future__ import annotations

import zipfile
from typing import IO

from latentrun.errors import InputError

FOLDER = 0x10  # in the attributes of an entry


class Damaged(InputError):
    """A file does not hold what was written. The text says why, in one line."""


def require_whole(file: IO[bytes]) -> None:
    """Damaged where an archive is cut off, or any bit of an entry is not as it was written.

    Compares the CRC-32 that the archive keeps of each entry, which torch does not look at; takes a twentieth
    of a second for 100 MB. The file is at its beginning afterwards.
    """
    file.seek(0)
    if not file.read(1):
        raise Damaged("it is empty")
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                _require_file(entry)
            damaged = archive.testzip()
    except Exception as error:  # a changed bit makes anything of a header, an encrypted entry for example
        raise Damaged(f"it is damaged ({str(error) or type(error).__name__})") from None
    if damaged is not None:
        raise Damaged(f"it is damaged: {damaged} is not what was written")
    file.seek(0)


def _require_file(entry: zipfile.ZipInfo) -> None:
    """ValueError where an entry is not a file stored as it is. No checksum covers what the list of entries
    says: a changed bit turns one into a folder, which torch reads as nothing, or others into its comment."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} unfolds into more than it holds")
    if entry.comment or entry.external_attr & FOLDER:
        raise ValueError(f"{entry.filename} is no file")
