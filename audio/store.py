"""Audio features: the store that fetch_audio_features.py fills, and the table that train.py reads from it.

The store is a text file of one JSON object a line, only ever appended to:

    {"uri":"spotify:track:…","source":"reccobeats","state":"found","features":{"energy":0.71,"key":9, …}}

    found     the source knows the track; `features` has those of FEATURES that it gave
    missing   the source answered, and does not know the track: it is not asked for this track again
    retry     no usable answer; to be asked again
    denied    the source refused (HTTP 403); to be asked again, which makes sense with other credentials

A line without its line feed was torn by a kill in the middle of writing: readers pass over it, and the next writer cuts
it off. A later line about a track overrules an earlier one of the same source, and "found" overrules all others.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from common.errors import InputError
from common.files import replaced
from mpd.playlists import Playlists
from mpd.synthetic import Planted

# In [0, 1], but for key (0-11, semitones above C; -1 = none found), loudness (dB), mode (1 major, 0 minor) and tempo
# (beats a minute).
FEATURES = ("acousticness", "danceability", "energy", "instrumentalness", "key", "liveness", "loudness", "mode",
            "speechiness", "tempo", "valence")
FOUND, MISSING, RETRY, DENIED = STATES = ("found", "missing", "retry", "denied")
START = b'{"uri":'  # how every line starts: what tells a torn line from a file of another kind


class Record(NamedTuple):
    """What one source said about one track."""
    uri: str
    source: str
    state: str
    features: dict[str, float] = {}


# ---- the store

def read_store(path: str | os.PathLike) -> Iterator[Record]:
    """The records of a store in the order of writing, read as they are asked for; a torn last line is left out.

    Raises InputError if there is no such file, or a line is no record (names the line)."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such store of audio features; python fetch_audio_features.py makes one")
    with open(path, "rb") as file:
        for number, line in enumerate(tqdm(file, f"reading {path.name}", unit=" tracks", disable=None, delay=2), 1):
            if line.endswith(b"\n"):
                yield _record(line, path, number)
            elif line[:len(START)] != START[:len(line)]:
                raise _damaged(path, number)


def _record(line: bytes, path: Path, number: int) -> Record:
    try:
        value = json.loads(line)
        features = {name: float(x) for name, x in value.get("features", {}).items()}
        record = Record(value["uri"], value["source"], value["state"], features)
        if record.state in STATES and isinstance(record.uri, str):
            return record
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise _damaged(path, number)


def _damaged(path: Path, number: int) -> InputError:
    return InputError(f"{path}, line {number}: no record of audio features; delete the line, or name another store")


def _line(record: Record) -> bytes:
    value = record._asdict()
    if not record.features:
        del value["features"]
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Store:
    """A store as one source sees it; `with store:` opens it for appending, and makes it if need be.

    state  {uri: state} of every track that was found at any source, or that `source` was asked for

    Raises InputError if the file is no store, or cannot be written."""

    def __init__(self, path: str | os.PathLike, source: str):
        self.path, self.source = Path(path), source
        self.state: dict[str, str] = {}
        if self.path.exists():
            self._note(read_store(self.path))

    def _note(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.state == FOUND or record.source == self.source and self.state.get(record.uri) != FOUND:
                self.state[record.uri] = record.state

    def __enter__(self) -> "Store":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "ab+")
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(max(0, size - (1 << 16)))  # far more than a line
        tail = self.file.read()
        self.file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def append(self, records: Iterable[Record]) -> None:
        """Write records and wait until they are on the disk."""
        records = list(records)
        try:
            self.file.write(b"".join(map(_line, records)))
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror or error}); what was stored before is "
                             f"intact: make room, then give the same command again") from error
        self._note(records)


# ---- the table

def track_features(path: str | os.PathLike, playlists: Playlists) -> tuple[torch.Tensor, list[str], float]:
    """Features of every track of a table, from a store, joined by URI → features (T, F) float32, the F names, coverage.

    Each column has mean 0 and standard deviation 1 over the tracks that have a value; where there is none it is 0. The
    key is a point on the circle of fifths (`key_sin`, `key_cos`), where keys that share most of their notes are
    neighbours: C (0) and G (7), not C and C sharp (1). Without a key found, both have no value. The last column,
    `missing`, is the share of the others that were filled in: 1 where nothing is known of the track. A feature that no
    track has is left out. coverage is the share of the T tracks that have features.

    Raises InputError for a file that is no store, and for one that has none of these tracks."""
    index = {uri: t for t, uri in enumerate(playlists.track_uris)}
    values = np.full((playlists.num_tracks, len(FEATURES)), np.nan)  # (T, len(FEATURES))
    for record in read_store(path):
        if record.state == FOUND and record.uri in index:
            values[index[record.uri]] = [record.features.get(name, np.nan) for name in FEATURES]
    values[~np.isfinite(values)] = np.nan

    key = values[:, FEATURES.index("key")]
    key = np.where((key >= 0) & (key <= 11), key, np.nan)
    angle = 2 * np.pi / 12 * (7 * key % 12)  # a fifth is 7 semitones, and 12 fifths come back to the start
    columns = {name: values[:, i] for i, name in enumerate(FEATURES) if name != "key"}
    columns |= {"key_sin": np.sin(angle), "key_cos": np.cos(angle)}
    columns = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    if not columns:
        raise InputError(f"{path}: has features of none of the {playlists.num_tracks:,} tracks of these data; fetch "
                         f"them with python fetch_audio_features.py and the same --data")

    table = np.stack(list(columns.values()), axis=1)  # (T, F - 1)
    absent = np.isnan(table)
    spread = np.nanstd(table, axis=0)
    table = (table - np.nanmean(table, axis=0)) / np.where(spread > 1e-9, spread, 1)  # a constant column becomes 0
    table[absent] = 0
    table = np.column_stack([table, absent.mean(1)])  # (T, F)
    return torch.from_numpy(table.astype(np.float32)), [*columns, "missing"], float(1 - absent.all(1).mean())


def write_synthetic(path: str | os.PathLike, playlists: Playlists, planted: Planted, seed: int = 0,
                    noise: float = 0.5, missing: float = 0.1) -> None:
    """Write a store for planted playlists (`mpd.synthetic.plant`) in which a track sounds like its genre.

    noise: spread of the tracks within a genre, where the genres themselves have spread 1. missing: share of the tracks
    that the store says are missing. An existing file is replaced."""
    rng = np.random.default_rng(seed)
    genre, num_genres, shape = planted.track_genre, len(planted.genre_names), (playlists.num_tracks, len(FEATURES))
    z = rng.normal(size=(num_genres, len(FEATURES)))[genre] + noise * rng.normal(size=shape)  # (T, len(FEATURES))
    tonic = rng.integers(0, 12, num_genres)[genre] + 7 * rng.integers(-1, 2, len(genre))  # and a fifth up or down
    natural = {"key": tonic % 12, "mode": (z[:, FEATURES.index("mode")] > 0).astype(int),
               "loudness": np.round(-10 + 3 * z[:, FEATURES.index("loudness")], 3),
               "tempo": np.round(120 * 1.2 ** z[:, FEATURES.index("tempo")], 3)}
    columns = [natural[name] if name in natural else np.round(1 / (1 + np.exp(-z[:, i])), 4)
               for i, name in enumerate(FEATURES)]
    rows = zip(playlists.track_uris, rng.random(len(genre)) < missing, zip(*(c.tolist() for c in columns)))
    with replaced(path, "wb") as file:
        file.writelines(_line(Record(uri, "synthetic", MISSING) if gone else
                              Record(uri, "synthetic", FOUND, dict(zip(FEATURES, row)))) for uri, gone, row in rows)
