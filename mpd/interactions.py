"""User–item interactions with their own split (train.txt, test.txt) → the table of mpd/playlists.py.

One line a user: the user's id, then the ids of the items, the form in which Gowalla, Yelp2018 and Amazon-Book
are passed around. A playlist is a user, a track is an item; artists and albums are unknown.
"""

import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from common.errors import InputError
from mpd.playlists import NO_COUNTS, Playlists, Strings, places


def is_interactions(path: str | os.PathLike) -> bool:
    """Whether `path` is a folder or a .zip with a train.txt in it."""
    path = Path(path)
    if path.is_dir():
        return (path / "train.txt").is_file()
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, "train.txt") is not None
    except (OSError, zipfile.BadZipFile):
        return False


def read_interactions(path: str | os.PathLike) -> Playlists:
    """Read train.txt as the entries and test.txt as `own_test`.

    Playlists are numbered by ascending user id and tracks by ascending item id, over both files together.
    URIs and names are the ids in writing; a position is the place in the line. Repeated items of a user are
    removed and counted as "duplicates"; so are test pairs that are also in train, as "test_in_train".

    Raises InputError if a file is missing or unreadable, or a token is no integer (names file and line)."""
    (train_user, train_item, train_users), (test_user, test_item, test_users) = (
        _columns(*_open(Path(path), name)) for name in ("train.txt", "test.txt"))
    users = np.union1d(train_users, test_users)  # a user without items counts as well
    items = np.union1d(train_item, test_item)
    if not len(train_item):
        raise InputError(f"{path}: train.txt names no item; each line is a user id, then item ids")

    playlist, track = np.searchsorted(users, train_user), np.searchsorted(items, train_item)
    order = np.argsort(playlist, kind="stable")  # within a user the order of the file stays
    playlist, track = playlist[order], track[order]
    lengths = np.bincount(playlist, minlength=len(users))
    position = places(lengths)
    pair = playlist * len(items) + track  # (E,) one number a pair
    kept = np.sort(np.unique(pair, return_index=True)[1])  # first occurrences, in the order of the entries

    test_pair = np.searchsorted(users, test_user) * len(items) + np.searchsorted(items, test_item)
    distinct = np.unique(test_pair)
    held_out = np.setdiff1d(distinct, pair)
    duplicates = len(pair) - len(kept) + len(test_pair) - len(distinct)

    user_ids, item_ids = Strings.of(map(str, users.tolist())), Strings.of(map(str, items.tolist()))
    nobody, unknown = Strings.of([]), np.full(len(items), -1, np.int32)
    return Playlists(
        playlist=playlist[kept].astype(np.int32),
        track=track[kept].astype(np.int32),
        position=position[kept].astype(np.int32),
        track_artist=unknown, track_album=unknown,
        pids=users,
        playlist_names=user_ids,
        track_uris=item_ids, track_names=item_ids,
        artist_uris=nobody, artist_names=nobody,
        album_uris=nobody, album_names=nobody,
        own_test=np.stack(np.divmod(held_out, len(items))).astype(np.int32),
        counts=NO_COUNTS | {"entries": len(kept), "duplicates": duplicates,
                            "test_in_train": len(distinct) - len(held_out)},
    )


def _open(path: Path, name: str) -> tuple[bytes, str]:
    """The bytes of one of the two files, and how to call it in a message."""
    where = f"{path / name}" if path.is_dir() else f"{path}:{name}"
    try:
        if path.is_dir():
            return (path / name).read_bytes(), where
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, name)
            if member is None:
                raise FileNotFoundError(f"no {name} in it")
            return archive.read(member), f"{path}:{member}"
    except FileNotFoundError as error:
        raise InputError(f"{where}: missing; put train.txt and test.txt (empty if nothing is held out) into "
                         "one folder or .zip") from error
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{where}: cannot be read ({error}); fetch it again") from error


def _member(archive: zipfile.ZipFile, name: str) -> str | None:
    """The member called `name` that lies least deep, if any."""
    found = [m for m in archive.namelist() if PurePosixPath(m).name == name]
    return min(found, key=lambda m: (m.count("/"), m), default=None)


def _columns(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) user and (n,) item of each pair in the file's order, and (m,) the user of each line; int64."""
    lines = [line for line in map(bytes.split, data.splitlines()) if line]
    sizes = np.fromiter(map(len, lines), np.int64, len(lines))
    try:
        numbers = np.fromiter(map(int, data.split()), np.int64, sizes.sum())
    except (ValueError, OverflowError):
        raise InputError(f"{where}: {_first_bad(data)}; ids are whole numbers with spaces between") from None
    heads = np.zeros(len(numbers), bool)
    heads[np.cumsum(sizes) - sizes] = True
    users = numbers[heads]
    return np.repeat(users, sizes - 1), numbers[~heads], users


def _first_bad(data: bytes) -> str:
    for number, line in enumerate(data.splitlines(), 1):
        for token in line.split():
            try:
                np.int64(int(token))
            except (ValueError, OverflowError):
                return f"line {number}: {token[:40].decode(errors='replace')!r} is no integer of 64 bits"
    raise AssertionError("every token is an integer")
