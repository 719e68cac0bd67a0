"""mpd/parse.py: every layout of the JSON, and every error in it."""

import json

import pytest

import mpd.parse
from mpd.playlists import Playlists
from slice_files import entry, message, playlist, random_slices, read, write, zipped


# ---- what is read

def test_a_sound_slice_is_never_loaded_whole(tmp_path, monkeypatch):
    folder = random_slices(tmp_path)
    monkeypatch.setattr(mpd.parse.json, "loads", None)
    assert read(folder).num_playlists == 60


@pytest.mark.parametrize("text", [
    ' {"playlists" :[%s ,\n%s\t] , "info":{"playlists": [1]}}\r\n',
    '{"version": 2, "info": null, "playlists": [%s, %s]}',
    '{"playlists": [], "playlists": [%s, %s]}', '\ufeff{"playlists": [%s, %s]}'])
def test_any_layout_of_the_json(tmp_path, text):
    playlists = playlist(3, entry(0, "t1"), entry(1, "t0")), playlist(2, entry(0, "t1", None, "b,]}"))
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text(text % tuple(map(json.dumps, playlists)))
    assert read(path) == read(write(tmp_path / "plain", 0, *playlists))


@pytest.mark.parametrize("text", [
    '{"playlists": [%s] ]}', '{"playlists": [%s]} x', '{"playlists": [%s}', '{"playlists": [%s,]}',
    '{"playlists" [%s]}', '{3: 4, "playlists": [%s]}', '{"playlists": [%s]', '{"playlists": [%s],}',
    '["playlists", %s]', '{"playlists": [%s [', '{"playlists": [%s], "playlists": 3}'])
def test_no_layout_that_json_does_not_allow(tmp_path, text):
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text(text % json.dumps(playlist(3, entry(0, "t"))))
    assert "not a readable MPD slice" in message(lambda: read(path))


def test_odd_but_legal(tmp_path):
    write(tmp_path, 0, {"pid": 0, "tracks": [entry(5, "t\ud83d\n")]}, playlist(1, entry(0, "ü"), name=None))
    table = read(tmp_path)
    assert table.playlist_names.tolist() == ["", ""] and table.track_uris.tolist() == ["t\ud83d\n", "ü"]
    table.save(tmp_path / "table.npz")
    assert Playlists.load(tmp_path / "table.npz") == table


@pytest.mark.parametrize("info", [
    None, [], {"description": 3}, {"slice": "0-9"}, {"description": "two\nlines"}])
def test_info_is_read_leniently(tmp_path, info):
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text(json.dumps({"info": info, "playlists": [playlist(0, entry(0, "t"))]}))
    assert read(path).note in ("", "two lines")


# ---- what is wrong with it

def broken(change):
    """A slice of three playlists of which the second, pid 11, is changed."""
    middle = playlist(11, entry(0, "t1"), entry(1, "t2"))
    change(middle)
    return playlist(10, entry(0, "t0")), middle, playlist(12, entry(0, "t3"))


BROKEN = {
    "no tracks": (lambda p: p.pop("tracks"), "tracks is missing"),
    "empty tracks": (lambda p: p.update(tracks=[]), "tracks is empty"),
    "tracks no list": (lambda p: p.update(tracks={"a": 1}), "tracks is {'a': 1}, not a list"),
    "tracks null": (lambda p: p.update(tracks=None), "tracks is null"),
    "entry no object": (lambda p: p["tracks"].append("t9"), "tracks[2] is 't9'"),
    "no uri": (lambda p: p["tracks"][1].pop("track_uri"), "tracks[1].track_uri is missing"),
    "uri null": (lambda p: p["tracks"][1].update(track_uri=None), "tracks[1].track_uri is null"),
    "uri int": (lambda p: p["tracks"][1].update(track_uri=5), "tracks[1].track_uri is 5"),
    "uri list": (lambda p: p["tracks"][1].update(track_uri=[]), "tracks[1].track_uri is []"),
    "no pos": (lambda p: p["tracks"][1].pop("pos"), "tracks[1].pos is missing"),
    "pos str": (lambda p: p["tracks"][1].update(pos="1"), "tracks[1].pos is '1'"),
    "pos bool": (lambda p: p["tracks"][1].update(pos=True), "tracks[1].pos is True"),
    "pos negative": (lambda p: p["tracks"][1].update(pos=-1), "tracks[1].pos is -1"),
    "pos huge": (lambda p: p["tracks"][1].update(pos=2 ** 31), "tracks[1].pos is 2147483648"),
    "no artist": (lambda p: p["tracks"][0].pop("artist_uri"), "tracks[0].artist_uri is missing"),
    "album int": (lambda p: p["tracks"][0].update(album_uri=1), "tracks[0].album_uri is 1"),
    "track name": (lambda p: p["tracks"][0].update(track_name={}), "tracks[0].track_name is {}"),
    "artist name": (lambda p: p["tracks"][0].update(artist_name=1.5), "tracks[0].artist_name is 1.5"),
    "album name": (lambda p: p["tracks"][0].update(album_name=False), "tracks[0].album_name is False"),
    "name": (lambda p: p.update(name=["x"]), "name is ['x']"),
}


@pytest.mark.parametrize("change, says", BROKEN.values(), ids=BROKEN)
def test_broken_playlist(tmp_path, change, says):
    path = write(tmp_path / "slices", 0, *broken(change))
    text = message(lambda: read(path))
    assert text.startswith(f"{path}: playlist 11: {says}") and "--skip-bad" in text
    archive = zipped(path.parent, tmp_path / "all.zip")
    where = f"{archive}:data/mpd.slice.0-999.json"
    assert message(lambda: read(archive)).startswith(f"{where}: playlist 11: {says}")
    table = read(path, skip_bad=True)
    assert table.pids.tolist() == [10, 12] and table.counts["skipped_playlists"] == 1
    assert table.track_uris.tolist() == ["t0", "t3"]


@pytest.mark.parametrize("pid", ["11", None, True, 1.5, -1, 2 ** 63])
def test_broken_pid_is_named_by_its_place(tmp_path, pid):
    path = write(tmp_path, 0, *broken(lambda p: p.update(pid=pid)))
    assert "playlists[1]: pid is" in message(lambda: read(path))
    assert read(path, skip_bad=True).counts["skipped_playlists"] == 1


def test_playlist_that_is_no_object(tmp_path):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")), [])
    assert "playlists[1] is []" in message(lambda: read(path))
    assert read(path, skip_bad=True).counts["skipped_playlists"] == 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [b'{"playlists": [{"pid"', b"", b"not json", b"[]", b'{"info": {}}',
                                     b'{"playlists": {}}', b"\xff\xfe\xfd", b"[" * 100_000])
def test_unreadable_slice(tmp_path, content, workers):
    bad = write(tmp_path, 0)
    bad.write_bytes(content)
    write(tmp_path, 1000, playlist(1000, entry(0, "t")))
    text = message(lambda: read(tmp_path, workers=workers))
    assert text.startswith(f"{bad}: ") and "--skip-bad" in text
    table = read(tmp_path, skip_bad=True, workers=workers)
    assert table.pids.tolist() == [1000] and table.counts["skipped_slices"] == 1


def test_damaged_zip_member(tmp_path):
    folder = tmp_path / "slices"
    write(folder, 0, playlist(0, *(entry(i, f"t{i}") for i in range(50))))
    archive = zipped(folder, tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    data[120:140] = bytes(20)  # inside the compressed member; the directory at the end stays whole
    archive.write_bytes(data)
    assert message(lambda: read(archive)).startswith(f"{archive}:data/mpd.slice.0-999.json: ")
