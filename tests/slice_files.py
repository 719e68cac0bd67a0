"""Small slices for the tests of mpd/slices.py and of what it is made of."""

import json
import zipfile

import numpy as np
import pytest

from common.errors import InputError
from mpd.slices import read_slices


def entry(pos, track, artist="a0", album="b0"):
    return {"pos": pos, "track_uri": track, "track_name": f"name of {track}", "artist_uri": artist,
            "artist_name": artist and f"name of {artist}", "album_uri": album,
            "album_name": album and f"name of {album}", "duration_ms": 1}


def playlist(pid, *tracks, **more):
    return {"pid": pid, "name": f"list {pid}", "collaborative": "false", "tracks": list(tracks), **more}


def write(folder, first, *playlists):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mpd.slice.{first}-{first + 999}.json"
    path.write_text(json.dumps({"info": {}, "playlists": playlists}))
    return path


def zipped(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"data/{file.name}")
    return path


def read(path, **options):
    return read_slices(path, **{"cache": None, "workers": 0, **options})


def random_slices(folder, seed=0, slices=5):
    """Small slices with duplicates, conflicts, shuffled positions and null artists among their entries."""
    rng = np.random.default_rng(seed)
    for i in range(slices):
        playlists = []
        for pid in range(i * 1000, i * 1000 + 12):
            tracks = rng.zipf(1.3, rng.integers(1, 30)) % 60
            owner = tracks // 4 + (rng.random(len(tracks)) < 0.1)
            positions = rng.permutation(len(tracks)) if rng.random() < 0.3 else np.arange(len(tracks))
            playlists.append(playlist(pid, *(
                entry(int(p), f"t{t}", None if t % 13 == 0 else f"ä{o}", f"b{o}")
                for p, t, o in zip(positions, tracks, owner))))
        write(folder, i * 1000, *playlists)
    return folder


def message(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)
