"""The parts of all slices, in order → one table (mpd/playlists.py).

A string is numbered where it is first seen, so the table is the same however many processes parsed the parts.
"""

from array import array

import numpy as np

from mpd.parse import KINDS, Columns, Source, read_slice
from mpd.playlists import NO_COUNTS, Playlists, Strings, in_order

OWNERS = ("artist", "album")  # of a track
UNKNOWN = -1  # number of an artist or album that is null


class Merger:
    """Gathers parts in order. Holds 8 bytes an entry, the bytes, hash and number of each string once, and two more
    hashes a track."""

    def __init__(self, skip_bad: bool):
        self.skip_bad = skip_bad
        self.numbers = {kind: Numbers() for kind in KINDS}
        self.uris = {kind: [] for kind in KINDS}  # Strings, a part each
        self.names = {kind: [] for kind in ("playlist", *KINDS)}
        self.owner = {kind: array("i") for kind in OWNERS}  # (T,) so far, of the track's first entry
        self.owner_hash = {kind: array("q") for kind in OWNERS}
        self.track, self.position, self.lengths = [], [], []  # arrays, a part each
        self.pids, self.seen = [], set()
        self.counts = dict(NO_COUNTS)
        self.note = ""

    def add(self, source: Source, part: Columns | None) -> None:
        """Take in the part of one slice. Raises InputError if a pid was in an earlier slice."""
        if part is not None and not self.seen.isdisjoint(part.pids.tolist()):
            part = read_slice(source, self.skip_bad, self.seen)  # rare: once more, with the pids that are taken
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

    def _keep(self, kind: str, part: Columns, entries: np.ndarray) -> None:
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


class Numbers:
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
