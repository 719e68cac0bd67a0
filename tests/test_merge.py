"""mpd/merge.py: planted answers, a plain reading to compare with, and what slices say of each other."""

import json

import numpy as np
import pytest

from mpd.merge import Numbers
from slice_files import entry, message, playlist, random_slices, read, write


def plainly(folder):
    """What the files say, by one loop over the entries: the reference for everything numeric."""
    tracks, owners, rows, duplicates, conflicts = {}, {}, [], 0, 0
    files = sorted(folder.iterdir(), key=lambda f: int(f.name.split(".")[2].split("-")[0]))
    for p in (p for f in files for p in json.loads(f.read_text())["playlists"]):
        for e in p["tracks"]:
            tracks.setdefault(e["track_uri"], len(tracks))
            owner = e["artist_uri"], e["album_uri"]
            conflicts += owners.setdefault(e["track_uri"], owner) != owner
        seen = set()
        for e in sorted(p["tracks"], key=lambda e: e["pos"]):
            duplicates += e["track_uri"] in seen
            if e["track_uri"] not in seen:
                rows.append((p["pid"], e["track_uri"], e["pos"]))
            seen.add(e["track_uri"])
    return list(tracks), owners, rows, duplicates, conflicts


def test_planted_slice(tmp_path):
    write(tmp_path, 0,
          playlist(7, entry(0, "t1", "a1", "b1"), entry(1, "t2", "a2", "b2"), entry(2, "t1", "a1", "b1")),
          playlist(3, entry(1, "t2", "a2", "b2"), entry(0, "t3", "a1", None)))
    table = read(tmp_path)
    assert table.playlist.tolist() == [0, 0, 1, 1]
    assert table.track.tolist() == [0, 1, 2, 1]  # playlist 3 in order of pos
    assert table.position.tolist() == [0, 1, 0, 1]
    assert table.pids.tolist() == [7, 3]
    assert table.playlist_names.tolist() == ["list 7", "list 3"]
    assert table.track_uris.tolist() == ["t1", "t2", "t3"]
    assert table.track_names[2] == "name of t3"
    assert table.artist_uris.tolist() == ["a1", "a2"] and table.track_artist.tolist() == [0, 1, 0]
    assert table.album_names.tolist() == ["name of b1", "name of b2"]
    assert table.track_album.tolist() == [0, 1, -1]
    assert table.counts == {"entries": 4, "duplicates": 1, "conflicts": 0, "skipped_playlists": 0,
                            "skipped_slices": 0}
    assert {table.playlist.dtype, table.track.dtype, table.position.dtype, table.track_artist.dtype} == {
        np.dtype(np.int32)}
    assert table.pids.dtype == np.int64


@pytest.mark.parametrize("seed", range(4))
def test_equals_plain_reading(tmp_path, seed):
    random_slices(tmp_path, seed)
    table = read(tmp_path)
    tracks, owners, rows, duplicates, conflicts = plainly(tmp_path)
    assert duplicates and conflicts
    assert table.track_uris.tolist() == tracks
    uris = (table.track_uris[t] for t in table.track)
    found = zip(table.pids[table.playlist].tolist(), uris, table.position)
    assert list(found) == rows
    assert (table.counts["duplicates"], table.counts["conflicts"]) == (duplicates, conflicts)
    for t, uri in enumerate(tracks):
        artist, album = table.track_artist[t], table.track_album[t]
        assert (None if artist < 0 else table.artist_uris[artist], table.album_uris[album]) == owners[uri]
        assert table.track_names[t] == f"name of {uri}"
        assert table.album_names[album] == f"name of {owners[uri][1]}"
    albums = [b for b in table.track_album.tolist() if b >= 0]
    assert list(dict.fromkeys(albums)) == list(range(table.num_albums))  # in the order of their tracks, none without


def test_conflicts_across_slices_first_wins(tmp_path):
    write(tmp_path, 0, playlist(0, entry(0, "t", "a1", "b1")))
    write(tmp_path, 1000, playlist(1000, entry(0, "t", "a2", "b1")),
          playlist(1001, entry(0, "t", "a1", "b1")), playlist(1002, entry(0, "t", "a2", "b2")))
    table = read(tmp_path)
    assert table.counts["conflicts"] == 2
    assert table.artist_uris.tolist() == ["a1"] and table.album_uris.tolist() == ["b1"]


@pytest.mark.parametrize("workers", [0, 2])
def test_pid_twice(tmp_path, workers):
    write(tmp_path, 0, playlist(0, entry(0, "t0")), playlist(1, entry(0, "t1")))
    second = write(tmp_path, 1000, playlist(1, entry(0, "t2")), playlist(2, entry(0, "t3")))
    assert f"{second}: playlist 1: pid" in message(lambda: read(tmp_path, workers=workers))
    table = read(tmp_path, skip_bad=True, workers=workers)
    assert table.pids.tolist() == [0, 1, 2] and table.track_uris.tolist() == ["t0", "t1", "t3"]
    assert table.counts["skipped_playlists"] == 1
    path = write(tmp_path / "one", 0, playlist(5, entry(0, "t0")), playlist(5, entry(0, "t1")))
    assert f"{path}: playlist 5: pid" in message(lambda: read(path, workers=workers))


def test_numbers_rise_by_first_appearance():
    numbers, seen = Numbers(), {}
    for values in (["b", None, "a", "b"], [], ["c", "a", None, "d", "c"], ["b"]):
        fresh = [i for i, v in enumerate(values) if v is not None and v not in seen and v not in values[:i]]
        seen |= {values[i]: len(seen) + k for k, i in enumerate(fresh)}
        ids, first = numbers.of(np.array([hash(v) for v in values], np.int64))
        assert ids.tolist() == [seen.get(v, -1) for v in values] and first.tolist() == fresh
