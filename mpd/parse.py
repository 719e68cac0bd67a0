"""The text of one MPD slice → its columns, a `Columns`.

    read_slice  one file or member of a zip → its Columns, or the error that says what is wrong with it
    _playlists  its text → its playlists, one after the other
    _parse      its playlists → whole columns, with a hash for every URI

Parsing is optimistic: whole columns are pulled out of a few playlists at once, and only if that fails are the
playlists of the slice looked at one by one (`_problem`), to say which is broken.
"""

import json
import re
import reprlib
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from mpd.playlists import Strings, StringsBuilder, join

ENTRY = ("pos", "track_uri", "artist_uri", "album_uri", "track_name", "artist_name", "album_name")
KINDS = ("track", "artist", "album")
MARK = re.compile(r"[ \t\n\r]*([][{}:,])[ \t\n\r]*")  # JSON's punctuation, and the space around it
MALFORMED = (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError)
BLOCK = 4  # playlists whose entries are taken apart together: their JSON objects stay in the cache


class Source(NamedTuple):
    """One slice: a file, or a member of a zip file."""
    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    def read(self) -> bytes:
        if self.member is None:
            return self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(self.member)


class Columns(NamedTuple):
    """The columns of one slice: p playlists and e entries, in the order of the file.

    URIs are told apart by their hashes: Python's own, 64 bits under a random key that this process and its forks
    share, so that any two of the MPD's three million have the same one with a probability below 10⁻⁶."""
    pids: np.ndarray  # (p,) int64
    playlist_names: Strings  # (p,)
    lengths: np.ndarray  # (p,) int64, entries of each playlist
    position: np.ndarray  # (e,) int32
    hashes: dict[str, np.ndarray]  # by kind: (e,) int64, of the URI; of None if null
    uris: dict[str, Strings]  # (e,), "" if null
    names: dict[str, Strings]  # (e,), "" if null
    note: str
    skipped: int = 0


def read_slice(source: Source, skip_bad: bool, taken: Collection[int] = ()) -> Columns | None:
    """Read and parse one slice; None if it is unreadable and skip_bad is set. Runs in any process.

    taken: pids of earlier slices, with which a playlist counts as broken. Raises InputError."""
    try:
        data, info = source.read(), {}
        try:
            return _parse(_playlists(data.decode(), info), info, taken)
        except MALFORMED:
            pass
        document = json.loads(data)  # the plain way, which finds out what is wrong, if anything is
        if type(document) is not dict or type(document.get("playlists")) is not list:
            raise ValueError("there is no list `playlists` in it")
    except (OSError, ValueError, EOFError, RecursionError, RuntimeError,  # RuntimeError: encrypted member
            zipfile.BadZipFile, zlib.error) as error:
        if skip_bad:
            return None
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: not a readable MPD slice ({reason}); fetch it again, or leave it out "
                         "with --skip-bad") from error
    sound, seen = [], set(taken)
    for index, playlist in enumerate(document["playlists"]):
        problem = _problem(playlist, index, seen)
        if problem is None:
            sound.append(playlist)
            seen.add(playlist["pid"])
        elif not skip_bad:
            raise InputError(f"{source}: {problem}; mend it, or leave the playlist out with --skip-bad")
    return _parse(iter(sound), document, taken)._replace(skipped=len(document["playlists"]) - len(sound))


def _playlists(text: str, info: dict) -> Iterator[object]:
    """The playlists of a slice's JSON, one after the other; the other members of its outermost object go into `info`.

    json.loads would build the objects of the whole slice first, 70 MB of them, which leave the processor's cache
    before anybody looks at them. Raises ValueError if the text is not a JSON object with one list `playlists` of at
    least one element and nothing after it; what was yielded until then is worth nothing."""
    decode = json.JSONDecoder().raw_decode
    mark, at = _mark(text, 0)
    _check(mark == "{")
    while mark != "}":
        key, at = decode(text, at)
        mark, at = _mark(text, at)
        _check(type(key) is str and mark == ":" and key not in info)
        if key == "playlists":
            info[key] = None
            mark, at = _mark(text, at)
            _check(mark == "[")
            while mark != "]":
                playlist, at = decode(text, at)
                yield playlist
                mark, at = _mark(text, at)
                _check(mark in ",]")
        else:
            info[key], at = decode(text, at)
        mark, at = _mark(text, at)
        _check(mark in ",}")
    _check("playlists" in info and at == len(text))


def _mark(text: str, at: int) -> tuple[str, int]:
    """The punctuation mark at this place and where the next value begins."""
    found = MARK.match(text, at)
    _check(found is not None)
    return found[1], found.end()


def _parse(playlists: Iterator[dict], info: dict, taken: Collection[int]) -> Columns:
    """Playlists of one slice → Columns. Raises some error if anything in them is not as it should be.

    info: the slice's outermost object; it may fill up while the playlists are read."""
    pids, lengths, position, playlist_names = [], [], [], StringsBuilder()
    hashes = {kind: [] for kind in KINDS}
    uris, names = ({kind: StringsBuilder() for kind in KINDS} for _ in range(2))
    while block := list(islice(playlists, BLOCK)):
        pids += [p["pid"] for p in block]
        _extend(playlist_names, [p.get("name") for p in block])
        tracks = [p["tracks"] for p in block]
        _check(_types(tracks) == {list} and all(tracks))
        lengths += map(len, tracks)
        columns = dict(zip(ENTRY, zip(*map(itemgetter(*ENTRY), chain.from_iterable(tracks)))))
        _check(_types(columns["pos"]) == {int})
        position.append(np.fromiter(columns["pos"], np.int32, len(columns["pos"])))
        for kind in KINDS:
            uri = columns[f"{kind}_uri"]
            hashes[kind].append(np.fromiter(map(hash, uri), np.int64, len(uri)))
            _extend(uris[kind], uri, may_be_null=kind != "track")
            _extend(names[kind], columns[f"{kind}_name"])
    _check(_types(pids) <= {int} and len(set(pids)) == len(pids) and not any(pid in taken for pid in pids))
    pids, position = np.array(pids, np.int64), join(position, np.int32)
    _check(pids.min(initial=0) >= 0 and position.min(initial=0) >= 0)
    note = info["info"].get("description") if type(info.get("info")) is dict else ""
    return Columns(
        pids=pids,
        playlist_names=playlist_names.strings(),
        lengths=np.array(lengths, np.int64),
        position=position,
        hashes={kind: join(parts, np.int64) for kind, parts in hashes.items()},
        uris={kind: parts.strings() for kind, parts in uris.items()},
        names={kind: parts.strings() for kind, parts in names.items()},
        note=" ".join(note.split()) if type(note) is str else "",
    )


def _extend(builder: StringsBuilder, values: Sequence[str | None], may_be_null: bool = True) -> None:
    """Append values that are str, or null where they may be. Raises TypeError, ValueError."""
    try:
        builder.extend(values)  # joins them, which is the cheapest check of a column
    except TypeError:
        _check(may_be_null and _types(values) <= {str, type(None)})
        builder.extend([value or "" for value in values])


def _check(condition: bool) -> None:
    if not condition:
        raise ValueError


def _types(values: Collection) -> set[type]:
    return set(map(type, values))  # type(True) is bool, so no truth value passes for an int


def _problem(playlist: object, index: int, seen: Collection[int]) -> str | None:
    """What is wrong with one playlist, or None: the same demands as in `_parse`, one value at a time."""
    if type(playlist) is not dict:
        return f"playlists[{index}] is {_show(playlist)}, not an object"
    pid = playlist.get("pid")
    if type(pid) is not int or not 0 <= pid < 1 << 63:
        return f"playlists[{index}]: pid is {_show_in(playlist, 'pid')}, not a whole number from 0"
    if pid in seen:
        return f"playlist {pid}: pid was used before, by an earlier playlist"
    if type(playlist.get("name")) not in (str, type(None)):
        return f"playlist {pid}: name is {_show(playlist['name'])}, not a string"
    tracks = playlist.get("tracks")
    if type(tracks) is not list:
        return f"playlist {pid}: tracks is {_show_in(playlist, 'tracks')}, not a list"
    if not tracks:
        return f"playlist {pid}: tracks is empty"
    for i, entry in enumerate(tracks):
        if type(entry) is not dict:
            return f"playlist {pid}: tracks[{i}] is {_show(entry)}, not an object"
        if type(entry.get("track_uri")) is not str:
            return f"playlist {pid}: tracks[{i}].track_uri is {_show_in(entry, 'track_uri')}, not a string"
        pos = entry.get("pos")
        if type(pos) is not int or not 0 <= pos < 1 << 31:
            return f"playlist {pid}: tracks[{i}].pos is {_show_in(entry, 'pos')}, not a whole number from 0"
        for key in ("track_name", "artist_uri", "artist_name", "album_uri", "album_name"):
            if key not in entry or type(entry[key]) not in (str, type(None)):
                return f"playlist {pid}: tracks[{i}].{key} is {_show_in(entry, key)}, not a string or null"
    return None


def _show(value: object) -> str:
    return "null" if value is None else reprlib.repr(value)


def _show_in(container: dict, key: str) -> str:
    return _show(container[key]) if key in container else "missing"
