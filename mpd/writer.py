"""Any table → MPD slice files with all their fields, as the published ones have them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpd.planted import NOTE, Planted
from mpd.playlists import Playlists, Strings

SLICE_SIZE = 1000  # playlists a slice file, as in the MPD


def write_slices(folder: str | os.PathLike, playlists: Playlists, planted: Planted | None = None) -> None:
    """Write any table as MPD slice files with all their fields, 1,000 playlists a file, into `folder`.

    Files are numbered by row, so that they are read in the order of the table. Reading them gives the same
    table again if it is numbered by first appearance, as `plant` and `read_slices` do. What the table does
    not hold (followers, durations, dates) is made up; with `planted`, a third of the playlists get a
    description that names their genres. The format has no place for a playlist without tracks, or for
    held-out pairs: both are left out."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, playlists.num_playlists, SLICE_SIZE):
        stop = min(start + SLICE_SIZE, playlists.num_playlists)
        info = {"generated_on": "2017-12-03 08:41:42.057563", "slice": f"{start}-{stop - 1}", "version": "v1",
                "description": playlists.note or NOTE}
        rows = list(_slice_rows(playlists, planted, start, stop))
        path = folder / f"mpd.slice.{start}-{stop - 1}.json"
        path.write_text(json.dumps({"info": info, "playlists": rows}), encoding="utf-8")


def _slice_rows(playlists: Playlists, planted: Planted | None, start: int, stop: int) -> Iterator[dict]:
    """The JSON objects of playlists start..stop-1."""
    ends = np.searchsorted(playlists.playlist, np.arange(start, stop + 1))
    track = playlists.track[ends[0]:ends[-1]]
    used = np.unique(track)
    owned = dict(zip(used.tolist(), _track_fields(playlists, used)))  # the same for every entry of a track
    for row in range(start, stop):
        low, high = ends[row - start], ends[row - start + 1]
        entries = [{"pos": pos, **owned[t]} for pos, t in
                   zip(playlists.position[low:high].tolist(), playlists.track[low:high].tolist())]
        if not entries:
            continue
        pid = int(playlists.pids[row])
        head = {"name": playlists.playlist_names[row]}
        if planted is not None and pid % 3 == 0:
            genres = planted.playlist_genres[row]
            head["description"] = ", ".join(planted.genre_names[g] for g in genres[genres >= 0])
        yield {
            **head,
            "collaborative": "true" if pid % 40 == 0 else "false",
            "pid": pid,
            "modified_at": 1_509_494_400 - 86_400 * (pid * 7919 % 1500),  # a midnight in 2013 to 2017
            "num_tracks": len(entries),
            "num_albums": len({e["album_uri"] for e in entries}),
            "num_artists": len({e["artist_uri"] for e in entries}),
            "num_followers": 1 + pid * 31 % 7,
            "num_edits": 1 + len(entries) // 3,
            "duration_ms": sum(e["duration_ms"] for e in entries),
            "tracks": entries,
        }


def _track_fields(playlists: Playlists, tracks: np.ndarray) -> Iterator[dict]:
    """The fields of an entry that its track determines, for each of `tracks`; an unknown artist or album is null."""
    artist, album = playlists.track_artist[tracks], playlists.track_album[tracks]
    columns = {
        "artist_name": _named(playlists.artist_names, artist),
        "track_uri": _named(playlists.track_uris, tracks),
        "artist_uri": _named(playlists.artist_uris, artist),
        "track_name": _named(playlists.track_names, tracks),
        "album_uri": _named(playlists.album_uris, album),
        "duration_ms": (120_000 + tracks.astype(np.int64) * 7919 % 180_000).tolist(),
        "album_name": _named(playlists.album_names, album),
    }
    return (dict(zip(columns, values)) for values in zip(*columns.values()))


def _named(strings: Strings, ids: np.ndarray) -> list[str | None]:
    """The strings at `ids` (n,); None for −1."""
    found = iter(strings.take(ids[ids >= 0]))
    return [next(found) if i >= 0 else None for i in ids.tolist()]
