"""Million Playlist Dataset slices → one table (mpd/playlists.py).

How a playlist in a JSON slice becomes numbers, one slice at a time:

    _find       which slices there are, in the order of their numbers
    _parse      one slice → a _Part: arrays in the slice's own numbering, and the strings they stand for
    _Merger     the parts, in order → global numbers (a string is numbered where it is first seen) → Playlists

`_parse` may run in other processes; `_Merger` never does, so the table is the same however many there are.
Parsing is optimistic: whole columns are pulled out of a slice at once, and only if that fails are its
playlists looked at one by one, to say which is broken.
"""

import contextlib
import gc
import hashlib
import json
import logging
import multiprocessing
import os
import re
import reprlib
import sys
import zipfile
import zlib
from array import array
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from itertools import chain, count, islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from errors import InputError
from mpd.playlists import NO_COUNTS, Playlists, Strings

SLICE_NAME = re.compile(r"mpd\.slice\.(\d+)-\d+\.json")
CACHE_FORMAT = 1  # raise it when the meaning of a cached table changes
ENTRY = ("pos", "track_uri", "artist_uri", "album_uri", "track_name", "artist_name", "album_name")
BLOCK = 32  # playlists whose entries are taken apart together: their JSON objects stay in the cache
PARALLEL_FROM = 4  # slices below which starting processes costs more than it saves
UNKNOWN, ELSEWHERE = -1, -2  # an artist or album that is null; one that no first entry of a track names


def read_slices(path: str | os.PathLike, slices: int | None = None, skip_bad: bool = False,
                cache: str | os.PathLike | None = "data/cache", workers: int | None = None) -> Playlists:
    """Read MPD slices into one table; tracks, artists and albums are numbered by first appearance.

    path      a folder of slices (mpd.slice.<first>-<last>.json, there or one folder further down), a .zip of
              them (read inside the zip), one slice, or an ismpd.json
    slices    read only the first so many, in the order of <first>
    skip_bad  leave out broken playlists and unreadable slices, and count them, instead of raising
    cache     folder that keeps the table as .npz under a fingerprint of the input's names, sizes and times;
              None = no cache. A cache that cannot be read or written is only warned about.
    workers   processes that parse; None = one a core from 4 slices on; 0 = parse in this process

    Raises InputError, naming file, playlist and field, for anything missing, unreadable or of a wrong type.
    An entry needs `pos` and `track_uri`, and `track_name`, `artist_uri`, `artist_name`, `album_uri` and
    `album_name`, which may be null. A playlist needs `pid` and `tracks`; its `name` may be missing."""
    if slices is not None and slices < 1:
        raise InputError(f"--slices {slices} asks for no data; give at least 1, or leave it out to read all")
    try:
        sources = _find(Path(path))[:slices]
        fingerprint = _fingerprint(sources, slices, skip_bad)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); check its permissions") from error
    cached = None if cache is None else Path(cache) / f"{fingerprint}.npz"
    if cached and cached.exists():
        try:
            return Playlists.load(cached)
        except InputError as error:
            logging.getLogger(__name__).warning("cache not used, the data are parsed again: %s", error)
    merger = _Merger(skip_bad)
    with tqdm(total=len(sources), desc="parsing", unit="slice", disable=None) as bar:
        for source, part in _parts(sources, skip_bad, _num_workers(workers, len(sources))):
            merger.add(source, part)
            bar.update()
    if not merger.seen:
        raise InputError(f"{path}: no playlist in it can be used; check that these are MPD slices")
    table = merger.table()
    if cached:
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            table.save(cached)
        except OSError as error:
            logging.getLogger(__name__).warning("cache not written, the next start parses again: %s", error)
    return table


# ---- which slices there are

class _Source(NamedTuple):
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


def _find(path: Path) -> list[_Source]:
    """The slices at `path` in numeric order; lexicographic order would put 10000-10999 before 2000-2999."""
    if path.is_dir():
        files = [f for f in path.iterdir() if f.is_file()]
        found = _in_order(_Source(f) for f in files) or _in_order(_Source(f) for f in path.glob("*/*.json"))
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder; give a folder or .zip of MPD slices, or one slice")
    elif path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                found = _in_order(_Source(path, member) for member in archive.namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path}: cannot be read as a zip file ({error}); fetch it again") from error
    else:
        return [_Source(path)]
    if not found:
        raise InputError(f"{path}: no slice in it; slices are called mpd.slice.0-999.json and so on, or "
                         "ismpd.json")
    return found


def _in_order(sources: Iterable[_Source]) -> list[_Source]:
    numbered = []
    for source in sources:
        name = Path(source.member or source.path).name
        if name == "ismpd.json":
            numbered.append((-1, source))
        elif match := SLICE_NAME.fullmatch(name):
            numbered.append((int(match[1]), source))
    return [source for _, source in sorted(numbered)]


def _fingerprint(sources: list[_Source], slices: int | None, skip_bad: bool) -> str:
    described = []
    for path in dict.fromkeys(source.path for source in sources):
        stat = path.stat()
        described.append((path.name, stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr((CACHE_FORMAT, slices, skip_bad, described)).encode()).hexdigest()[:32]


# ---- one slice

@dataclass
class _Part:
    """One slice in its own numbering: tracks, artists and albums are numbered by first appearance in it.

    p playlists, e entries, t tracks. Lists of str become Strings while a _Part travels between processes."""
    pids: list[int]
    playlist_names: list[str]
    lengths: np.ndarray  # (p,) entries of each playlist, without duplicates
    track: np.ndarray  # (e,) int32, entries in playlist order
    position: np.ndarray  # (e,) int32
    track_uris: list[str]
    track_names: list[str]
    track_artist: np.ndarray  # (t,) int32, of the track's first entry; UNKNOWN if null
    track_album: np.ndarray  # (t,) int32
    artist_uris: list[str]
    artist_names: list[str]
    album_uris: list[str]
    album_names: list[str]
    agreeing: np.ndarray  # (t,) entries with the artist and album of the track's first entry
    deviating: np.ndarray  # (3, n) track, artist and album of each other entry
    duplicates: int
    skipped: int
    note: str

    def __getstate__(self) -> dict:
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: Strings.of(v) if type(v) is list and k != "pids" else v for k, v in state.items()}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = {k: v.tolist() if isinstance(v, Strings) else v for k, v in state.items()}


def _read(source: _Source, skip_bad: bool, taken: Collection[int] = ()) -> _Part | None:
    """Read and parse one slice; None if it is unreadable and skip_bad is set. Runs in any process.

    taken: pids of earlier slices, with which a playlist counts as broken. Raises InputError."""
    with _no_garbage_collection():
        return _load_and_parse(source, skip_bad, taken)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A slice is a hundred thousand containers and no cycle: passes of the collector over them cost up to a
    third of the time of json.loads and free nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load_and_parse(source: _Source, skip_bad: bool, taken: Collection[int]) -> _Part | None:
    try:
        document = json.loads(source.read())
        if type(document) is not dict or type(document.get("playlists")) is not list:
            raise ValueError("there is no list `playlists` in it")
    except (OSError, ValueError, EOFError, RecursionError, RuntimeError,  # RuntimeError: encrypted member
            zipfile.BadZipFile, zlib.error) as error:
        if skip_bad:
            return None
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: not a readable MPD slice ({reason}); fetch it again, or leave it out "
                         "with --skip-bad") from error
    playlists, skipped = document["playlists"], 0
    info = document.get("info")
    note = info.get("description") if type(info) is dict else ""
    note = " ".join(note.split()) if type(note) is str else ""
    try:
        return _parse(playlists, skipped, note, taken)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        sound, seen = [], set(taken)
        for index, playlist in enumerate(playlists):
            problem = _problem(playlist, index, seen)
            if problem is None:
                sound.append(playlist)
                seen.add(playlist["pid"])
            elif skip_bad:
                skipped += 1
            else:
                raise InputError(f"{source}: {problem}; mend it, or leave the playlist out with "
                                 "--skip-bad") from None
        return _parse(sound, skipped, note, taken)


def _parse(playlists: list[dict], skipped: int, note: str, taken: Collection[int]) -> _Part:
    """Playlists of one slice → _Part. Raises some error if anything in them is not as it should be."""
    pids = [p["pid"] for p in playlists]
    names = [p.get("name") for p in playlists]
    tracks = [p["tracks"] for p in playlists]
    _check(_types(pids) <= {int} and _types(names) <= {str, type(None)} and _types(tracks) <= {list})
    _check(all(tracks))
    _check(len(set(pids)) == len(pids) and not any(pid in taken for pid in pids))
    _check(all(0 <= pid < 1 << 63 for pid in pids))
    numbers = {key: _new_numbers() for key in ("track_uri", "artist_uri", "album_uri")}
    columns = {key: [] for key in ENTRY}  # numbers of the URIs, and the values themselves of the rest
    for start in range(0, len(tracks), BLOCK):
        values_of = zip(*map(itemgetter(*ENTRY), chain.from_iterable(tracks[start:start + BLOCK])))
        for key, values in zip(ENTRY, values_of):
            _check_column(key, values)
            columns[key].extend(map(numbers[key].__getitem__, values) if key in numbers else values)
    track, artist, album = (np.array(columns[key], np.int32) for key in numbers)  # (e,) each
    track_uris, artist_uris, album_uris = (list(islice(n, 1, None)) for n in numbers.values())  # not the None
    position = np.array(columns["pos"], np.int32)
    _check(position.min(initial=0) >= 0)

    first_of_track = _first(track, len(track_uris))  # (t,) entry that shows the track first
    track_artist, track_album = artist[first_of_track], album[first_of_track]
    agrees = (artist == track_artist[track]) & (album == track_album[track])

    lengths = np.fromiter(map(len, tracks), np.int64, len(tracks))
    playlist = np.repeat(np.arange(len(tracks)), lengths)
    order, duplicates = _in_place(playlist, track, position, len(track_uris))
    return _Part(
        pids=pids,
        playlist_names=[name or "" for name in names],
        lengths=np.bincount(playlist[order], minlength=len(tracks)).astype(np.int32),
        track=track[order],
        position=position[order],
        track_uris=track_uris,
        track_names=_at(columns["track_name"], first_of_track),
        track_artist=track_artist,
        track_album=track_album,
        artist_uris=artist_uris,
        artist_names=_at(columns["artist_name"], _first(artist, len(artist_uris))),
        album_uris=album_uris,
        album_names=_at(columns["album_name"], _first(album, len(album_uris))),
        agreeing=np.bincount(track[agrees], minlength=len(track_uris)).astype(np.int32),
        deviating=np.stack([track, artist, album])[:, ~agrees],
        duplicates=duplicates,
        skipped=skipped,
        note=note,
    )


def _check(condition: bool) -> None:
    if not condition:
        raise ValueError


def _types(values: Collection) -> set[type]:
    return set(map(type, values))  # type(True) is bool, so no truth value passes for an int


def _check_column(key: str, values: tuple) -> None:
    if key == "pos":
        _check(_types(values) <= {int})
        return
    try:
        "".join(values)  # raises at the first value that is no str: the cheapest check of a column
    except TypeError:
        _check(key != "track_uri" and _types(values) <= {str, type(None)})


def _new_numbers() -> defaultdict[str | None, int]:
    """A dict in which a missing key takes the next number, all of it in C; None is UNKNOWN."""
    numbers = defaultdict(count().__next__)
    numbers[None] = UNKNOWN
    return numbers


def _first(ids: np.ndarray, size: int) -> np.ndarray:
    """(size,) index of the first occurrence of each id 0..size-1 in ids; -1 is ignored."""
    first = np.empty(size + 1, np.int64)  # the extra last element takes the -1
    first[ids[::-1]] = np.arange(len(ids) - 1, -1, -1)  # backwards, so that the first one is written last
    return first[:size]


def _at(names: list[str | None], indices: np.ndarray) -> list[str]:
    return [names[i] or "" for i in indices.tolist()]


def _in_place(playlist: np.ndarray, track: np.ndarray, position: np.ndarray, num_tracks: int
              ) -> tuple[np.ndarray, int]:
    """Indices of the entries to keep, by playlist and position, only the first of a track in its playlist;
    and how many entries that leaves out."""
    order = np.arange(len(track))
    place = playlist << 32 | position
    if (place[1:] < place[:-1]).any():  # files nearly always are in order
        order = np.argsort(place, kind="stable")
    pair = (playlist * num_tracks + track)[order]
    ordered = np.sort(pair)
    if not (ordered[1:] == ordered[:-1]).any():
        return order, 0
    by_pair = np.argsort(pair, kind="stable")  # equal pairs stay in order of position
    repeated = by_pair[1:][pair[by_pair[1:]] == pair[by_pair[:-1]]]
    return np.delete(order, repeated), len(repeated)


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


# ---- many slices

class _Merger:
    """Gathers parts in order. Holds 8 bytes an entry, the strings' numbers, and each string once."""

    def __init__(self, skip_bad: bool):
        self.skip_bad = skip_bad
        self.numbers = {kind: defaultdict(count().__next__) for kind in ("track", "artist", "album")}
        self.names = {kind: [] for kind in ("playlist", "track", "artist", "album")}  # Strings, a part each
        self.track_artist, self.track_album = array("i"), array("i")  # (T,) so far
        self.track, self.position, self.lengths = [], [], []  # arrays, a part each
        self.pids, self.seen = [], set()
        self.counts = dict(NO_COUNTS)
        self.note = ""

    def add(self, source: _Source, part: _Part | None) -> None:
        """Take in the part of one slice. Raises InputError if a pid was in an earlier slice."""
        if part is not None and not self.seen.isdisjoint(part.pids):
            part = _read(source, self.skip_bad, self.seen)  # rare: once more, with the pids that are taken
        if part is None:
            self.counts["skipped_slices"] += 1
            return
        self.seen.update(part.pids)
        self.note = self.note or part.note

        known = len(self.track_artist)
        tracks = self._number("track", part.track_uris)  # (t,) local → global
        fresh = np.flatnonzero(tracks >= known)  # numbered in this order
        artists = self._owners("artist", part.artist_uris, part.artist_names, part.track_artist[fresh])
        albums = self._owners("album", part.album_uris, part.album_names, part.track_album[fresh])
        self.names["track"].append(_pick(part.track_names, fresh))
        self.track_artist.frombytes(artists[part.track_artist[fresh]].tobytes())
        self.track_album.frombytes(albums[part.track_album[fresh]].tobytes())

        # The first entry of a track anywhere decides; the part has compared with the first in its slice only.
        artist_of = np.asarray(self.track_artist)[tracks]  # (t,)
        album_of = np.asarray(self.track_album)[tracks]  # (t,)
        agree = (artists[part.track_artist] == artist_of) & (albums[part.track_album] == album_of)
        track, artist, album = part.deviating
        deviate = (artists[artist] != artist_of[track]) | (albums[album] != album_of[track])
        self.counts["conflicts"] += int(part.agreeing[~agree].sum() + deviate.sum())
        self.counts["duplicates"] += part.duplicates
        self.counts["skipped_playlists"] += part.skipped
        self.counts["entries"] += len(part.track)

        self.pids.append(np.array(part.pids, np.int64))
        self.names["playlist"].append(Strings.of(part.playlist_names))
        self.lengths.append(part.lengths)
        self.track.append(tracks[part.track])
        self.position.append(part.position)

    def _number(self, kind: str, values: list[str]) -> np.ndarray:
        return np.fromiter(map(self.numbers[kind].__getitem__, values), np.int32, len(values))

    def _owners(self, kind: str, uris: list[str], names: list[str], of_fresh: np.ndarray) -> np.ndarray:
        """(len(uris) + 1,) int32, local → global artists or albums; the last element maps UNKNOWN to UNKNOWN.

        Only those of fresh tracks are given a number: an owner whose tracks were all first seen with another
        one would have no track in the table, and stays ELSEWHERE."""
        numbers = self.numbers[kind]
        needed = np.unique(of_fresh[of_fresh != UNKNOWN])
        known = len(numbers)
        ids = self._number(kind, [uris[i] for i in needed.tolist()])
        self.names[kind].append(_pick(names, needed[ids >= known]))
        found = np.fromiter(map(numbers.get, uris, repeat(ELSEWHERE)), np.int32, len(uris))
        return np.append(found, np.int32(UNKNOWN))

    def table(self) -> Playlists:
        """The whole table; the merger gives up its parts on the way, so that memory does not double."""
        columns = {}
        for name in ("track", "position"):
            columns[name] = np.concatenate(getattr(self, name))
            setattr(self, name, [])
        lengths = np.concatenate(self.lengths)
        uris = {}
        for kind in ("track", "artist", "album"):
            uris[f"{kind}_uris"] = Strings.of(self.numbers[kind])
            self.numbers[kind] = {}
        names = {f"{kind}_names": Strings.concatenate(parts) for kind, parts in self.names.items()}
        return Playlists(
            playlist=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            track_artist=np.array(self.track_artist, np.int32),
            track_album=np.array(self.track_album, np.int32),
            pids=np.concatenate(self.pids), counts=self.counts, note=self.note, **columns, **uris, **names)


def _pick(values: list[str], indices: np.ndarray) -> Strings:
    return Strings.of(values[i] for i in indices.tolist())


def _parts(sources: list[_Source], skip_bad: bool, workers: int) -> Iterator[tuple[_Source, _Part | None]]:
    """Each source with its part, in the order of the sources, at most a few of them in memory at a time."""
    if workers == 0:
        for source in sources:
            yield source, _read(source, skip_bad)
        return
    # Linux: fork, since a spawned process would import the calling script, and torch with it. Elsewhere fork
    # is unsafe or missing.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            jobs = ((source, pool.submit(_read, source, skip_bad)) for source in sources)
            pending = deque(islice(jobs, 2 * workers))  # the generator submits a job when it is asked for one
            while pending:
                source, job = pending.popleft()
                part = job.result()
                pending.extend(islice(jobs, 1))
                yield source, part
        except BrokenProcessPool as error:
            raise InputError(f"{source}: a parsing process was killed, perhaps for want of memory; "
                             "free some, or read fewer slices with --slices") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _num_workers(workers: int | None, num_slices: int) -> int:
    if workers is not None:
        return min(workers, num_slices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    daemonic = multiprocessing.current_process().daemon  # such a process may not start others
    return 0 if cores == 1 or num_slices < PARALLEL_FROM or daemonic else min(cores, num_slices)
