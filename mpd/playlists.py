"""The one table that every reader of playlists returns and everything else reads.

Entries are three parallel int32 columns, so that 66 million of them cost 12 bytes each; strings (URIs and
titles) are byte blobs with offsets, so that millions cost their bytes and not Python objects.
"""

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice

import numpy as np

from common.errors import InputError, one_line
from common.files import whole

CHUNK = 1 << 16  # strings handled at a time: bounds the temporaries of `of` and `take`
NO_COUNTS = dict.fromkeys(("entries", "duplicates", "conflicts", "skipped_playlists", "skipped_slices"), 0)
UTF8 = ("utf-8", "surrogatepass")  # JSON may carry lone surrogates ("\ud83d"); strict UTF-8 refuses them


class Strings:
    """An immutable list of str: one UTF-8 blob and the offsets of the strings in it.

    blob: (bytes,) uint8; offsets: (N + 1,) int64; string i is blob[offsets[i]:offsets[i + 1]].
    A URI costs 44 bytes this way, and 93 as a str in a list."""

    __slots__ = ("blob", "offsets")

    def __init__(self, blob: np.ndarray, offsets: np.ndarray):
        self.blob, self.offsets = blob, offsets
        blob.flags.writeable = offsets.flags.writeable = False

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Strings":
        """Encode any iterable of str; it is consumed in chunks and never held as a whole."""
        strings, builder = iter(strings), StringsBuilder()
        while chunk := list(islice(strings, CHUNK)):
            builder.extend(chunk)
        return builder.strings()

    @classmethod
    def concatenate(cls, parts: Iterable["Strings"]) -> "Strings":
        """The strings of all parts, one part after the other."""
        parts = list(parts)
        return cls(join([p.blob for p in parts], np.uint8),
                   _offsets(join([np.diff(p.offsets) for p in parts], np.int64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> str:
        i = range(len(self))[i]  # negative indices, and IndexError, as for a list
        return self.blob[self.offsets[i]:self.offsets[i + 1]].tobytes().decode(*UTF8)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            ends = self.offsets[start:start + CHUNK + 1]
            data = self.blob[ends[0]:ends[-1]].tobytes()
            ends = (ends - ends[0]).tolist()
            text = data.decode(*UTF8)
            if len(text) == len(data):  # ASCII: the offsets in bytes are offsets in characters
                yield from [text[a:b] for a, b in zip(ends, ends[1:])]
            else:
                yield from [data[a:b].decode(*UTF8) for a, b in zip(ends, ends[1:])]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Strings):
            return NotImplemented
        return np.array_equal(self.offsets, other.offsets) and np.array_equal(self.blob, other.blob)

    __hash__ = None

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, islice(self, 3)))
        return f"Strings({len(self)}: {shown}{', ...' if len(self) > 3 else ''})"

    def take(self, indices: np.ndarray) -> "Strings":
        """The strings at `indices` (n,) int, in that order; an index may repeat."""
        indices = np.asarray(indices, np.int64)
        lengths = np.diff(self.offsets)[indices]
        blobs = []
        for start in range(0, len(indices), CHUNK):
            ids, sizes = indices[start:start + CHUNK], lengths[start:start + CHUNK]
            shift = self.offsets[ids] - _offsets(sizes)[:-1]  # from a byte's place here to its place there
            blobs.append(self.blob[np.repeat(shift, sizes) + np.arange(sizes.sum())])
        return Strings(join(blobs, np.uint8), _offsets(lengths))

    def tolist(self) -> list[str]:
        return list(self)


class StringsBuilder:
    """Strings that come piece by piece."""

    def __init__(self):
        self.texts, self.lengths = [], []

    def extend(self, strings: Sequence[str]) -> None:
        """Raises TypeError if one of them is no str; then none of them is taken."""
        text = "".join(strings)
        if not text.isascii():  # one byte a character only holds for ASCII
            strings = [s.encode(*UTF8) for s in strings]
        self.texts.append(text.encode(*UTF8))
        self.lengths.append(np.fromiter(map(len, strings), np.int64, len(strings)))

    def strings(self) -> Strings:
        """All of them."""
        return Strings(np.frombuffer(b"".join(self.texts), np.uint8), _offsets(join(self.lengths, np.int64)))


@dataclass(eq=False)
class Playlists:
    """Playlists, their tracks, and the artist and album of each track, all as indices.

    P playlists, T tracks, E entries. Entries are sorted by playlist, then position; no track is twice in one.

    playlist, track  (E,) int32     entry e says: playlist[e] contains track[e] ...
    position         (E,) int32     ... at this place, 0-based, as in the file (gaps where duplicates were)
    track_artist     (T,) int32     -1 = unknown
    track_album      (T,) int32     -1 = unknown
    pids             (P,) int64     the playlists' ids in the file
    own_test         (2, E') int32  held-out (playlist, track) pairs if the data have their own split, or None
    counts           "entries" kept, "duplicates" removed, "conflicts" (entries whose track was first seen
                     with another artist or album), "skipped_playlists", "skipped_slices"
    note             what the data say of themselves, e.g. that they are synthetic; no part of equality
    """

    playlist: np.ndarray
    track: np.ndarray
    position: np.ndarray
    track_artist: np.ndarray
    track_album: np.ndarray
    pids: np.ndarray
    playlist_names: Strings
    track_uris: Strings
    track_names: Strings
    artist_uris: Strings
    artist_names: Strings
    album_uris: Strings
    album_names: Strings
    own_test: np.ndarray | None = None
    counts: dict[str, int] = field(default_factory=dict)
    note: str = field(default="", compare=False)

    @property
    def num_playlists(self) -> int:
        return len(self.pids)

    @property
    def num_tracks(self) -> int:
        return len(self.track_uris)

    @property
    def num_artists(self) -> int:
        return len(self.artist_uris)

    @property
    def num_albums(self) -> int:
        return len(self.album_uris)

    @property
    def names(self) -> dict[str, Strings]:
        """The names by node type."""
        return {t: getattr(self, f"{t}_names") for t in ("playlist", "track", "artist", "album")}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Playlists):
            return NotImplemented
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.compare)
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
                   else type(a) is type(b) and a == b for a, b in pairs)

    def select(self, playlists_mask: np.ndarray, tracks_mask: np.ndarray) -> "Playlists":
        """The table of the playlists and tracks whose mask is set, (P,) and (T,) bool, renumbered in order.

        An entry or a held-out pair stays if both its ends do; an artist or album stays if one of its tracks
        does. Positions stay those of the file."""
        new_playlist, new_track = _renumber(playlists_mask), _renumber(tracks_mask)
        artists_mask = _used(self.track_artist[tracks_mask], self.num_artists)
        albums_mask = _used(self.track_album[tracks_mask], self.num_albums)
        keep = playlists_mask[self.playlist] & tracks_mask[self.track]
        own_test = self.own_test
        if own_test is not None:
            p, t = own_test[:, playlists_mask[own_test[0]] & tracks_mask[own_test[1]]]
            own_test = np.stack([new_playlist[p], new_track[t]])
        playlists, tracks = np.flatnonzero(playlists_mask), np.flatnonzero(tracks_mask)
        artists, albums = np.flatnonzero(artists_mask), np.flatnonzero(albums_mask)
        return replace(
            self,
            playlist=new_playlist[self.playlist[keep]],
            track=new_track[self.track[keep]],
            position=self.position[keep],
            track_artist=_renumber(artists_mask)[self.track_artist[tracks]],
            track_album=_renumber(albums_mask)[self.track_album[tracks]],
            pids=self.pids[playlists],
            playlist_names=self.playlist_names.take(playlists),
            track_uris=self.track_uris.take(tracks),
            track_names=self.track_names.take(tracks),
            artist_uris=self.artist_uris.take(artists),
            artist_names=self.artist_names.take(artists),
            album_uris=self.album_uris.take(albums),
            album_names=self.album_names.take(albums),
            own_test=own_test,
            counts={**self.counts, "entries": int(keep.sum())},
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the table as .npz, all or nothing: an existing file is replaced once the whole is on disk."""
        arrays = {"meta": np.array(json.dumps({"counts": self.counts, "note": self.note}))}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Strings):
                arrays[f"{f.name}.blob"], arrays[f"{f.name}.offsets"] = value.blob, value.offsets
            elif isinstance(value, np.ndarray):
                arrays[f.name] = value
        # Entries are sorted by playlist: the lengths say the same as the column, at a thousandth of its size.
        arrays["playlist"] = np.bincount(self.playlist, minlength=self.num_playlists)
        with whole(path, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Playlists":
        """Read what `save` wrote. Raises InputError if the file cannot be read or is damaged."""
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = dict(data)
            values = {"own_test": None, **json.loads(str(arrays.pop("meta")))}
            for name in [n.removesuffix(".blob") for n in arrays if n.endswith(".blob")]:
                values[name] = Strings(arrays.pop(f"{name}.blob"), arrays.pop(f"{name}.offsets"))
            arrays["playlist"] = np.repeat(np.arange(len(arrays["pids"]), dtype=np.int32), arrays["playlist"])
            return cls(**{**values, **arrays})
        except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError,
                zipfile.BadZipFile) as error:
            raise InputError(f"{path}: no readable table of playlists ({one_line(error)}); delete it") from error


def in_order(playlist: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Indices (n,) that sort entries by playlist, then position, equal ones as they stand. A table's are in order
    already, and files nearly always: then nothing is sorted."""
    place = playlist.astype(np.int64) << 32 | position
    if (place[1:] >= place[:-1]).all():
        return np.arange(len(place))
    return np.argsort(place, kind="stable")


def places(lengths: np.ndarray) -> np.ndarray:
    """0 … lengths_i − 1 for every i, one after the other: the place of each entry in its playlist, where they are in
    order."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def join(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    """np.concatenate that also takes an empty list."""
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """(N,) lengths → (N + 1,) int64 offsets, the first 0."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _renumber(mask: np.ndarray) -> np.ndarray:
    """(N + 1,) int32: old index → its new one, -1 if left out; the last element keeps -1 (unknown) at -1."""
    return np.append(np.where(mask, np.cumsum(mask) - 1, -1), -1).astype(np.int32)


def _used(ids: np.ndarray, size: int) -> np.ndarray:
    """(size,) bool: which of 0..size-1 occur in ids; -1 is ignored."""
    mask = np.zeros(size + 1, bool)
    mask[ids] = True  # -1 falls on the extra last element
    return mask[:-1]
