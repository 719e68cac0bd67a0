"""Million Playlist Dataset slices → one table (mpd/playlists.py).

How a playlist in a JSON slice becomes numbers, one slice at a time:

    _find       which slices there are, in the order of their numbers
    _playlists  the text of one slice → its playlists, one after the other
    _parse      the playlists of one slice → a _Part: its columns, with a hash for every URI
    _Merger     the parts, in order → numbers (a string is numbered where it is first seen) → Playlists

The middle two may run in other processes; `_Merger` never does, so the table is the same however many there
are. Parsing is optimistic: whole columns are pulled out of a few playlists at once, and only if that fails are
the playlists of the slice looked at one by one, to say which is broken.
"""

import hashlib
import json
import logging
import mmap
import multiprocessing
import os
import pickle
import re
import reprlib
import sys
import zipfile
import zlib
from array import array
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, cycle, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from common.errors import InputError
from mpd.playlists import NO_COUNTS, Playlists, Strings, StringsBuilder, in_order, join

SLICE_NAME = re.compile(r"mpd\.slice\.(\d+)-\d+\.json")
CACHE_FORMAT = 2  # raise it when the meaning of a cached table changes
ENTRY = ("pos", "track_uri", "artist_uri", "album_uri", "track_name", "artist_name", "album_name")
KINDS = ("track", "artist", "album")
OWNERS = ("artist", "album")  # of a track
MARK = re.compile(r"[ \t\n\r]*([][{}:,])[ \t\n\r]*")  # JSON's punctuation, and the space around it
MALFORMED = (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError)
BLOCK = 4  # playlists whose entries are taken apart together: their JSON objects stay in the cache
SLOT = 1 << 26  # bytes for a part on its way between processes: four times what a slice of the MPD needs
PARALLEL_FROM = 4  # slices below which starting processes costs more than it saves
UNKNOWN = -1  # number of an artist or album that is null


def read_slices(path: str | os.PathLike, slices: int | None = None, skip_bad: bool = False,
                cache: str | os.PathLike | None = "data/cache", workers: int | None = None) -> Playlists:
    """Read MPD slices into one table. Tracks are numbered by first appearance, and named as there; artists and
    albums likewise, where only the first entry of each track counts.

    path      a folder of slices (mpd.slice.<first>-<last>.json, there or one folder further down), a .zip of
              them (read inside the zip), one slice, or an ismpd.json
    slices    read only the first so many, in the order of <first>
    skip_bad  leave out broken playlists and unreadable slices, and count them, instead of raising
    cache     folder that keeps the table as .npz under a fingerprint of the input's names, sizes and times;
              None = no cache. A cache that cannot be read or written is only warned about.
    workers   processes that parse; None = one a core from 4 slices on; 0 = parse in this process, which is
              what happens everywhere but on Linux

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
        found = _by_number(_Source(f) for f in files) or _by_number(_Source(f) for f in path.glob("*/*.json"))
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder; give a folder or .zip of MPD slices, or one slice")
    elif path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                found = _by_number(_Source(path, member) for member in archive.namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path}: cannot be read as a zip file ({error}); fetch it again") from error
    else:
        return [_Source(path)]
    if not found:
        raise InputError(f"{path}: no slice in it; slices are called mpd.slice.0-999.json and so on, or "
                         "ismpd.json")
    return found


def _by_number(sources: Iterable[_Source]) -> list[_Source]:
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

class _Part(NamedTuple):
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


def _read(source: _Source, skip_bad: bool, taken: Collection[int] = ()) -> _Part | None:
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


def _parse(playlists: Iterator[dict], info: dict, taken: Collection[int]) -> _Part:
    """Playlists of one slice → _Part. Raises some error if anything in them is not as it should be.

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
    return _Part(
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


def _in_place(playlist: np.ndarray, track: np.ndarray, position: np.ndarray, num_tracks: int
              ) -> tuple[np.ndarray, int]:
    """Indices of the entries to keep, by playlist and position, only the first of a track in its playlist;
    and how many entries that leaves out."""
    order = in_order(playlist, position)
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

class _Numbers:
    """Numbers strings by first appearance, known by their hashes; unknown, the hash of None, is UNKNOWN."""

    def __init__(self):
        self.hashes = np.array([hash(None)])  # (N,) int64 of all so far, sorted
        self.numbers = np.array([UNKNOWN], np.int32)  # (N,)

    def of(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of each hash (n,) int32; and where those stand first that had none before, in the order of their
        numbers."""
        distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        place = np.searchsorted(self.hashes, distinct)
        known = self.hashes.take(place, mode="clip") == distinct
        numbers = self.numbers.take(place, mode="clip")
        new = np.flatnonzero(~known)
        new_in_order = new[np.argsort(first[new])]
        numbers[new_in_order] = np.arange(len(new)) + len(self.hashes) - 1
        self.hashes = np.insert(self.hashes, place[new], distinct[new])
        self.numbers = np.insert(self.numbers, place[new], numbers[new])
        return numbers[inverse], first[new_in_order]


class _Merger:
    """Gathers parts in order. Holds 8 bytes an entry, the bytes, hash and number of each string once, and two more
    hashes a track."""

    def __init__(self, skip_bad: bool):
        self.skip_bad = skip_bad
        self.numbers = {kind: _Numbers() for kind in KINDS}
        self.uris = {kind: [] for kind in KINDS}  # Strings, a part each
        self.names = {kind: [] for kind in ("playlist", *KINDS)}
        self.owner = {kind: array("i") for kind in OWNERS}  # (T,) so far, of the track's first entry
        self.owner_hash = {kind: array("q") for kind in OWNERS}
        self.track, self.position, self.lengths = [], [], []  # arrays, a part each
        self.pids, self.seen = [], set()
        self.counts = dict(NO_COUNTS)
        self.note = ""

    def add(self, source: _Source, part: _Part | None) -> None:
        """Take in the part of one slice. Raises InputError if a pid was in an earlier slice."""
        if part is not None and not self.seen.isdisjoint(part.pids.tolist()):
            part = _read(source, self.skip_bad, self.seen)  # rare: once more, with the pids that are taken
        if part is None:
            self.counts["skipped_slices"] += 1
            return
        self.seen.update(part.pids.tolist())
        self.note = self.note or part.note

        track, fresh = self.numbers["track"].of(part.hashes["track"])  # (e,); (t,) entries that show a track first
        self._keep("track", part, fresh)
        deviates = np.zeros(len(track), bool)
        for kind in OWNERS:
            hashes = part.hashes[kind]  # (e,)
            owner, named = self.numbers[kind].of(hashes[fresh])
            self._keep(kind, part, fresh[named])
            self.owner[kind].frombytes(owner.tobytes())
            self.owner_hash[kind].frombytes(hashes[fresh].tobytes())
            deviates |= hashes != np.asarray(self.owner_hash[kind])[track]
        playlist = np.repeat(np.arange(len(part.pids)), part.lengths)
        order, duplicates = _in_place(playlist, track, part.position, len(self.owner["artist"]))

        self.counts["conflicts"] += int(deviates.sum())
        self.counts["duplicates"] += duplicates
        self.counts["skipped_playlists"] += part.skipped
        self.counts["entries"] += len(order)
        self.pids.append(part.pids)
        self.names["playlist"].append(part.playlist_names)
        self.lengths.append(np.bincount(playlist[order], minlength=len(part.pids)))
        self.track.append(track[order])
        self.position.append(part.position[order])

    def _keep(self, kind: str, part: _Part, entries: np.ndarray) -> None:
        """Take over URIs and names that were not known before, from these entries (n,)."""
        self.uris[kind].append(part.uris[kind].take(entries))
        self.names[kind].append(part.names[kind].take(entries))

    def table(self) -> Playlists:
        """The whole table; the merger gives up its parts on the way, so that memory does not double."""
        lengths = np.concatenate(self.lengths)
        columns = {name: np.concatenate(vars(self).pop(name)) for name in ("track", "position", "pids")}
        columns |= {f"track_{kind}": np.array(self.owner.pop(kind), np.int32) for kind in OWNERS}
        for name, kinds in (("uris", KINDS), ("names", ("playlist", *KINDS))):
            columns |= {f"{kind}_{name}": Strings.concatenate(vars(self)[name].pop(kind)) for kind in kinds}
        return Playlists(playlist=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
                         counts=self.counts, note=self.note, **columns)


def _parts(sources: list[_Source], skip_bad: bool, workers: int) -> Iterator[tuple[_Source, _Part | None]]:
    """Each source with its part, in the order of the sources, at most a few of them in memory at a time."""
    if workers == 0:
        for source in sources:
            yield source, _read(source, skip_bad)
        return
    at_once = min(2 * workers, len(sources))
    slots = _make_slots(at_once)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _share, (slots,)) as pool:
        try:
            jobs = ((source, slot, pool.submit(_read_into, slot, source, skip_bad))
                    for source, slot in zip(sources, cycle(range(at_once))))
            pending = deque(islice(jobs, at_once))  # the generator submits a job when it is asked for one
            while pending:
                source, slot, job = pending.popleft()
                part = job.result()
                if type(part) is int:
                    part = pickle.loads(memoryview(slots[slot])[:part])
                pending.extend(islice(jobs, 1))
                yield source, part
        except BrokenProcessPool as error:
            raise InputError(f"{source}: a parsing process was killed, perhaps for want of memory; "
                             "free some, or read fewer slices with --slices") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_slots: list[mmap.mmap] = []  # of a parsing process: a pool hands memory to its processes at their start only


def _make_slots(count: int) -> list[mmap.mmap]:
    """Memory that this process shares with its forks; none where there is too little of it."""
    try:
        return [mmap.mmap(-1, SLOT) for _ in range(count)]
    except OSError:
        return []


def _share(slots: list[mmap.mmap]) -> None:
    _slots[:] = slots


def _read_into(slot: int, source: _Source, skip_bad: bool) -> int | _Part | None:
    """_read in another process. The part is left in the slot, and its size is returned; sent through the pipe it would
    take a quarter of the time of parsing it, and so it is only where there is no slot, or one too small."""
    part = _read(source, skip_bad)
    data = pickle.dumps(part, protocol=5)
    if slot >= len(_slots) or len(data) > SLOT:
        return part
    _slots[slot][:len(data)] = data
    return len(data)


def _num_workers(workers: int | None, num_slices: int) -> int:
    """Only on Linux are there any: a fork shares the key of the hashes, and elsewhere it is unsafe or missing."""
    if sys.platform != "linux":
        return 0
    if workers is not None:
        return min(workers, num_slices)
    cores = len(os.sched_getaffinity(0))
    daemonic = multiprocessing.current_process().daemon  # such a process may not start others
    return 0 if cores == 1 or num_slices < PARALLEL_FROM or daemonic else min(cores, num_slices)
