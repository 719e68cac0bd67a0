"""Files that are written whole or not at all."""
from __future__ import annotations

import gzip
import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator

from common.errors import InputError


@contextmanager
def whole(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """A file to write, mode "w" (UTF-8 text, gzipped where the name ends in .gz) or "wb", that takes its name only once
    it is whole and on the disk: after a crash or on a full disk, what stood there before still stands.

    Raises OSError when it cannot be written."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    zipped = path.suffix == ".gz" and mode == "w"
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "replace"}        # JSON may carry half a character
    try:
        with gzip.open(part, "wt", compresslevel=3, **text) if zipped else open(part, mode, **text) as file:
            yield file
        with open(part, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replaced(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """The same for a name that the user has given: its folder is made. Raises InputError when it cannot be written."""
    path = Path(path)
    if not path.name:
        raise InputError(f"{path}: is no file name; give one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path, mode) as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); make room, or choose another "
                         f"name") from error
