"""The zip archives that torch and numpy write, checked for damage before anybody believes what is in them."""

from __future__ import annotations

import zipfile
from typing import IO


class Damaged(ValueError):
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
            packed = next((e for e in archive.infolist() if e.compress_type != zipfile.ZIP_STORED), None)
            damaged = archive.testzip() if packed is None else None
    except Exception as error:  # a changed bit makes anything of a header, an encrypted entry for example
        raise Damaged(f"it is damaged ({str(error) or type(error).__name__})") from None
    if packed is not None:
        raise Damaged(f"{packed.filename} unfolds into more than it holds")
    if damaged is not None:
        raise Damaged(f"it is damaged: {damaged} is not what was written")
    file.seek(0)
