"""mpd/writer.py: the files are MPD slices."""

import json

from mpd.slices import read_slices
from mpd.synthetic import plant
from mpd.writer import write_slices


def test_slices_have_every_field(tmp_path):
    table, truth = plant(1500, seed=1)
    write_slices(tmp_path, table, truth)
    assert {f.name for f in tmp_path.iterdir()} == {"mpd.slice.0-999.json", "mpd.slice.1000-1499.json"}
    slice_ = json.loads((tmp_path / "mpd.slice.0-999.json").read_text())
    assert "SYNTHETIC" in slice_["info"]["description"] and slice_["info"]["slice"] == "0-999"
    kinds = {"name": str, "collaborative": str, "pid": int, "modified_at": int, "num_tracks": int,
             "num_albums": int, "num_artists": int, "num_followers": int, "num_edits": int,
             "duration_ms": int, "tracks": list}
    for playlist in slice_["playlists"]:
        assert {k: type(v) for k, v in playlist.items() if k != "description"} == kinds
        assert playlist["collaborative"] in ("true", "false") and playlist["modified_at"] % 86400 == 0
        assert playlist["num_tracks"] == len(playlist["tracks"])
        assert playlist["num_artists"] == len({t["artist_uri"] for t in playlist["tracks"]})
        assert playlist["duration_ms"] == sum(t["duration_ms"] for t in playlist["tracks"])
    assert 0 < sum("description" in p for p in slice_["playlists"]) < 1000
    assert set(slice_["playlists"][0]["tracks"][0]) == {
        "pos", "track_uri", "track_name", "artist_uri", "artist_name", "album_uri", "album_name",
        "duration_ms"}
    again = read_slices(tmp_path, cache=None, workers=0)
    assert again == table and "SYNTHETIC" in again.note
