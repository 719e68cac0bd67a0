"""Million Playlist Dataset slices → one table (mpd/playlists.py).

How a playlist in a JSON slice becomes numbers, one slice at a time:

    find_slices  here          which slices there are, in the order of their numbers
    read_slice   mpd/parse.py  the text of one slice → its playlists → a Columns: its columns, a hash for every URI
    Merger       mpd/merge.py  the parts, in order → numbers (a string's is where it is first seen) → Playlists

`read_slice` may run in other processes; the Merger never does, so the table is the same however many there are.
"""

import hashlib
import logging
import multiprocessing
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from common.errors import InputError
from mpd.merge import Merger
from mpd.parse import Columns, Source, read_slice
from mpd.playlists import Playlists

SLICE_NAME = re.compile(r"mpd\.slice\.(\d+)-\d+\.json")
CACHE_FORMAT = 2  # raise it when the meaning of a cached table changes
PARALLEL_FROM = 4  # slices below which starting processes costs more than it saves


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
        sources = find_slices(Path(path))[:slices]
        fingerprint = _fingerprint(sources, slices, skip_bad)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); check its permissions") from error
    cached = None if cache is None else Path(cache) / f"{fingerprint}.npz"
    if cached and cached.exists():
        try:
            return Playlists.load(cached)
        except InputError as error:
            logging.getLogger(__name__).warning("cache not used, the data are parsed again: %s", error)
    merger = Merger(skip_bad)
    with (closing(_parts(sources, skip_bad, _num_workers(workers, len(sources)))) as parts,
          tqdm(total=len(sources), desc="parsing", unit="slice", disable=None) as bar):
        for source, part in parts:
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

def find_slices(path: Path) -> list[Source]:
    """The slices at `path` in numeric order; lexicographic order would put 10000-10999 before 2000-2999."""
    if path.is_dir():
        files = [f for f in path.iterdir() if f.is_file()]
        found = _by_number(Source(f) for f in files) or _by_number(Source(f) for f in path.glob("*/*.json"))
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder; give a folder or .zip of MPD slices, or one slice")
    elif path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                found = _by_number(Source(path, member) for member in archive.namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path}: cannot be read as a zip file ({error}); fetch it again") from error
    else:
        return [Source(path)]
    if not found:
        raise InputError(f"{path}: no slice in it; slices are called mpd.slice.0-999.json and so on, or "
                         "ismpd.json")
    return found


def _by_number(sources: Iterable[Source]) -> list[Source]:
    numbered = []
    for source in sources:
        name = Path(source.member or source.path).name
        if name == "ismpd.json":
            numbered.append((-1, source))
        elif match := SLICE_NAME.fullmatch(name):
            numbered.append((int(match[1]), source))
    return [source for _, source in sorted(numbered)]


def _fingerprint(sources: list[Source], slices: int | None, skip_bad: bool) -> str:
    described = []
    for path in dict.fromkeys(source.path for source in sources):
        stat = path.stat()
        described.append((path.name, stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr((CACHE_FORMAT, slices, skip_bad, described)).encode()).hexdigest()[:32]


# ---- several processes

def _parts(sources: list[Source], skip_bad: bool, workers: int) -> Iterator[tuple[Source, Columns | None]]:
    """Each source with its part, in the order of the sources.

    Process i of W parses sources i, i + W, i + 2W …, and no further than two parts ahead of what was asked for, which
    bounds the memory. Raises InputError for what `read_slice` does, and if a process dies."""
    if workers == 0:
        for source in sources:
            yield source, read_slice(source, skip_bad)
        return
    fork = multiprocessing.get_context("fork")
    readers, processes = [], []
    try:
        for i in range(workers):
            reader, writer = map(os.fdopen, os.pipe(), ("rb", "wb"))
            readers.append(reader)
            work = writer, readers, sources[i::workers], skip_bad
            process = fork.Process(target=_send_parts, args=work, daemon=True)
            process.start()
            processes.append(process)
            writer.close()  # the process has its own; once that is gone too, reading fails
        for source, reader in zip(sources, cycle(readers)):
            yield source, _receive(reader, source)
    finally:
        for process in processes:
            process.terminate()  # where reading ends early; otherwise it is through
            process.join()
        for reader in readers:
            reader.close()


def _send_parts(writer: BinaryIO, readers: list[BinaryIO], sources: list[Source], skip_bad: bool) -> None:
    """What a parsing process does: send the part of each source, or the InputError that it raises.

    A thread sends one part while the next is parsed, since sending takes until the reading process is free."""
    for reader in readers:
        reader.close()  # only the reading process may have one, so that sending fails once that is gone
    try:
        with ThreadPoolExecutor(1) as thread:
            sending = None
            for source in sources:
                try:
                    answer = read_slice(source, skip_bad)
                except InputError as error:
                    answer = error
                if sending:
                    sending.result()
                sending = thread.submit(_send, writer, answer)
            sending.result()
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the reading process has stopped, or says itself that it was interrupted


def _send(writer: BinaryIO, answer: Columns | InputError | None) -> None:
    pickle.dump(answer, writer, protocol=5)  # which copies no array on its way into the pipe, and load none out of it
    writer.flush()


def _receive(reader: BinaryIO, source: Source) -> Columns | None:
    """The part of this source. Raises the InputError that came in its place, or one if the process died."""
    try:
        answer = pickle.load(reader)
    except (EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{source}: a parsing process died, perhaps for want of memory; free some, or read fewer "
                         "slices with --slices") from error
    if isinstance(answer, InputError):
        raise answer
    return answer


def _num_workers(workers: int | None, num_slices: int) -> int:
    """Only on Linux are there any: a fork shares the key of the hashes, and elsewhere it is unsafe or missing."""
    if sys.platform != "linux":
        return 0
    if workers is not None:
        return min(workers, num_slices)
    cores = len(os.sched_getaffinity(0))
    daemonic = multiprocessing.current_process().daemon  # such a process may not start others
    return 0 if cores == 1 or num_slices < PARALLEL_FROM or daemonic else min(cores, num_slices)
