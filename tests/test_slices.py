"""mpd/slices.py and the table it fills: planted answers, a plain reading to compare with, and every error."""

import json
import logging
import os
import time
import zipfile

import numpy as np
import pytest

import mpd.slices
from common.errors import InputError
from helpers import SHARED
from mpd.playlists import Playlists, Strings
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


# ---- what is read

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


def test_same_table_however_it_is_read(tmp_path):
    folder = random_slices(tmp_path / "slices")
    table = read(folder)
    assert read(folder, workers=1) == table
    assert read(folder, workers=2) == table
    assert read(zipped(folder, tmp_path / "all.zip"), workers=2) == table
    assert read(zipped(folder, tmp_path / "all.zip")) == table
    nested = tmp_path / "nested" / "data"
    nested.parent.mkdir()
    folder.rename(nested)
    assert read(nested.parent) == table


def test_a_part_without_room_in_shared_memory_goes_through_the_pipe(tmp_path, monkeypatch):
    folder = random_slices(tmp_path)
    table = read(folder)
    monkeypatch.setattr(mpd.slices, "SLOT", 4096)
    assert read(folder, workers=2) == table
    monkeypatch.setattr(mpd.slices, "_make_slots", lambda count: [])
    assert read(folder, workers=2) == table


def test_shared_memory_is_not_written_over_before_it_is_read(tmp_path, monkeypatch):
    folder, loads = random_slices(tmp_path, slices=12), mpd.slices.pickle.loads
    table = read(folder)
    monkeypatch.setattr(mpd.slices.pickle, "loads", lambda data: (time.sleep(0.05), loads(data))[1])
    assert read(folder, workers=2) == table


def test_a_sound_slice_is_never_loaded_whole(tmp_path, monkeypatch):
    folder = random_slices(tmp_path)
    monkeypatch.setattr(mpd.slices.json, "loads", None)
    assert read(folder).num_playlists == 60


@pytest.mark.parametrize("text", [
    ' {"playlists" :[%s ,\n%s\t] , "info":{"playlists": [1]}}\r\n', '{"version": 2, "info": null, "playlists": [%s, %s]}',
    '{"playlists": [], "playlists": [%s, %s]}', '\ufeff{"playlists": [%s, %s]}'])
def test_any_layout_of_the_json(tmp_path, text):
    playlists = playlist(3, entry(0, "t1"), entry(1, "t0")), playlist(2, entry(0, "t1", None, "b,]}"))
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text(text % tuple(map(json.dumps, playlists)))
    assert read(path) == read(write(tmp_path / "plain", 0, *playlists))


@pytest.mark.parametrize("text", [
    '{"playlists": [%s] ]}', '{"playlists": [%s]} x', '{"playlists": [%s}', '{"playlists": [%s,]}', '{"playlists" [%s]}',
    '{3: 4, "playlists": [%s]}', '{"playlists": [%s]', '{"playlists": [%s],}', '["playlists", %s]', '{"playlists": [%s [',
    '{"playlists": [%s], "playlists": 3}'])
def test_no_layout_that_json_does_not_allow(tmp_path, text):
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text(text % json.dumps(playlist(3, entry(0, "t"))))
    assert "not a readable MPD slice" in message(lambda: read(path))


def test_one_file_and_ismpd(tmp_path):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")))
    table = read(path)
    assert table.num_tracks == 1
    assert read(path.rename(tmp_path / "ismpd.json")) == table == read(tmp_path)


def test_order_is_numeric(tmp_path):
    for first in (10000, 2000, 0):
        write(tmp_path, first, playlist(first, entry(0, f"t{first}")))
    assert read(tmp_path).pids.tolist() == [0, 2000, 10000]
    assert read(tmp_path, slices=2).pids.tolist() == [0, 2000]
    assert read(zipped(tmp_path, tmp_path / "z.zip"), slices=2).pids.tolist() == [0, 2000]


def test_conflicts_across_slices_first_wins(tmp_path):
    write(tmp_path, 0, playlist(0, entry(0, "t", "a1", "b1")))
    write(tmp_path, 1000, playlist(1000, entry(0, "t", "a2", "b1")),
          playlist(1001, entry(0, "t", "a1", "b1")), playlist(1002, entry(0, "t", "a2", "b2")))
    table = read(tmp_path)
    assert table.counts["conflicts"] == 2
    assert table.artist_uris.tolist() == ["a1"] and table.album_uris.tolist() == ["b1"]


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


@pytest.mark.skipif(not (SHARED / "polimi-mpd.zip").exists(), reason="the shared data are not here")
def test_polimi():
    table = read(SHARED / "polimi-mpd.zip", workers=None)
    assert (table.num_playlists, table.num_tracks, len(table.track)) == (5000, 13536, 115553)


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


def message(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
def test_pid_twice(tmp_path, workers):
    write(tmp_path, 0, playlist(0, entry(0, "t0")), playlist(1, entry(0, "t1")))
    second = write(tmp_path, 1000, playlist(1, entry(0, "t2")), playlist(2, entry(0, "t3")))
    assert f"{second}: playlist 1: pid" in message(lambda: read(tmp_path, workers=workers))
    table = read(tmp_path, skip_bad=True, workers=workers)
    assert table.pids.tolist() == [0, 1, 2] and table.track_uris.tolist() == ["t0", "t1", "t3"]
    assert table.counts["skipped_playlists"] == 1
    path = write(tmp_path / "one", 0, playlist(5, entry(0, "t0")), playlist(5, entry(0, "t1")))
    assert f"{path}: playlist 5: pid" in message(lambda: read(path, workers=workers))


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


def test_missing_and_empty(tmp_path):
    assert "no such file" in message(lambda: read(tmp_path / "nowhere"))
    assert "no slice in it" in message(lambda: read(tmp_path))
    (tmp_path / "other.txt").write_text("x")
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("x.txt", "x")
    assert message(lambda: read(archive)).startswith(f"{archive}: no slice in it")
    archive.write_bytes(b"PK no zip")
    assert message(lambda: read(archive)).startswith(f"{archive}: cannot be read as a zip")
    assert "no playlist" in message(lambda: read(write(tmp_path, 0)))
    assert "--slices 0" in message(lambda: read(tmp_path, slices=0))


def test_damaged_zip_member(tmp_path):
    folder = tmp_path / "slices"
    write(folder, 0, playlist(0, *(entry(i, f"t{i}") for i in range(50))))
    archive = zipped(folder, tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    data[120:140] = bytes(20)  # inside the compressed member; the directory at the end stays whole
    archive.write_bytes(data)
    assert message(lambda: read(archive)).startswith(f"{archive}:data/mpd.slice.0-999.json: ")


# ---- the cache

@pytest.fixture
def parsed(monkeypatch):
    """A list that grows by one with each slice that is parsed."""
    calls, original = [], mpd.slices._read
    monkeypatch.setattr(mpd.slices, "_read",
                        lambda source, *rest: calls.append(source) or original(source, *rest))
    return calls


def test_cache_hit_and_what_misses(tmp_path, parsed):
    path = write(tmp_path / "slices", 0, playlist(0, entry(0, "t")))
    write(path.parent, 1000, playlist(1000, entry(0, "t")))
    cache = tmp_path / "cache"
    first = read(path.parent, cache=cache)
    assert len(parsed) == 2 and len(list(cache.iterdir())) == 1
    assert read(path.parent, cache=cache) == first and len(parsed) == 2
    read(path.parent, cache=cache, slices=1)
    assert len(parsed) == 3
    read(path.parent, cache=cache, skip_bad=True)
    assert len(parsed) == 5
    os.utime(path, ns=(0, 12345))
    read(path.parent, cache=cache)
    assert len(parsed) == 7
    path.unlink()
    assert read(path.parent, cache=cache).num_playlists == 1


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"no npz", lambda b: b[:len(b) // 2],
                                    lambda b: b[:300] + bytes(99) + b[399:]])
def test_damaged_cache_is_parsed_again(tmp_path, parsed, caplog, damage):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")))
    table = read(path, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert read(path, cache=tmp_path / "cache") == table
    assert len(parsed) == 2 and len(caplog.messages) == 1 and "\n" not in caplog.messages[0]
    assert read(path, cache=tmp_path / "cache") == table and len(parsed) == 2


def test_unwritable_cache_is_no_error(tmp_path, caplog):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")))
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert read(path, cache=tmp_path / "cache").num_playlists == 1
    assert len(caplog.messages) == 1


# ---- the table

def test_save_is_all_or_nothing(tmp_path, monkeypatch):
    table = read(write(tmp_path, 0, playlist(0, entry(0, "t"))))
    table.own_test = np.array([[0], [0]], np.int32)
    table.note = "a note"
    table.save(tmp_path / "t.npz")
    again = Playlists.load(tmp_path / "t.npz")
    assert again == table and again.note == "a note"

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError):
        table.save(tmp_path / "t.npz")
    assert sorted(tmp_path.iterdir()) == before and Playlists.load(tmp_path / "t.npz") == table


def test_select(tmp_path):
    table = read(write(tmp_path, 0,
                       playlist(0, entry(0, "t0", "a0", "b0"), entry(1, "t1", "a1", "b1")),
                       playlist(1, entry(0, "t2", None, "b1"), entry(1, "t1", "a1", "b1"),
                                entry(2, "t3", "a0", None))))
    table.own_test = np.array([[0, 1, 1], [2, 0, 1]], np.int32)
    part = table.select(np.array([False, True]), np.array([False, True, True, True]))
    assert part.playlist.tolist() == [0, 0, 0] and part.track.tolist() == [1, 0, 2]
    assert part.position.tolist() == [0, 1, 2] and part.pids.tolist() == [1]
    assert part.track_uris.tolist() == ["t1", "t2", "t3"]
    assert part.artist_uris.tolist() == ["a0", "a1"] and part.track_artist.tolist() == [1, -1, 0]
    assert part.album_uris.tolist() == ["b1"] and part.track_album.tolist() == [0, 0, -1]
    assert part.own_test.tolist() == [[0], [0]] and part.counts["entries"] == 3
    everything = table.select(np.ones(2, bool), np.ones(4, bool))
    assert everything == table


def test_numbers_rise_by_first_appearance():
    numbers, seen = mpd.slices._Numbers(), {}
    for values in (["b", None, "a", "b"], [], ["c", "a", None, "d", "c"], ["b"]):
        fresh = [i for i, v in enumerate(values) if v is not None and v not in seen and v not in values[:i]]
        seen |= {values[i]: len(seen) + k for k, i in enumerate(fresh)}
        ids, first = numbers.of(np.array([hash(v) for v in values], np.int64))
        assert ids.tolist() == [seen.get(v, -1) for v in values] and first.tolist() == fresh


def test_in_order_keeps_equal_places_as_they_stand():
    playlist, position = np.array([1, 0, 1, 0, 1], np.int32), np.array([2, 5, 2, 1, 0], np.int32)
    assert mpd.playlists.in_order(playlist, position).tolist() == [3, 1, 4, 0, 2]
    assert mpd.playlists.in_order(playlist[[3, 1, 4, 0, 2]], position[[3, 1, 4, 0, 2]]).tolist() == [0, 1, 2, 3, 4]


def test_strings_piece_by_piece():
    builder = mpd.playlists.StringsBuilder()
    builder.extend(("a", "süß"))
    with pytest.raises(TypeError):
        builder.extend(("b", None))
    builder.extend([])
    builder.extend(["", "c"])
    assert builder.strings() == Strings.of(["a", "süß", "", "c"])


def test_strings():
    words = ["", "a", "süß", "日本", "\ud83d", "x\ny"] * 30_000  # more than one chunk
    strings = Strings.of(iter(words))
    assert len(strings) == len(words) and strings.tolist() == words
    assert strings[2] == "süß" and strings[-1] == "x\ny" and strings == Strings.of(words) != Strings.of(["a"])
    indices = np.random.default_rng(0).integers(0, len(words), 100_000)
    assert strings.take(indices).tolist() == [words[i] for i in indices]
    assert Strings.concatenate([strings, Strings.of([]), strings]).tolist() == words * 2
    assert Strings.of([]).tolist() == [] and len(strings.take([])) == 0
    with pytest.raises(IndexError):
        strings[len(words)]
