"""mpd/playlists.py: the table on disk and its parts, and the strings in it."""

import numpy as np
import pytest

from mpd.playlists import Playlists, Strings, StringsBuilder, in_order
from slice_files import entry, playlist, read, write


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


def test_in_order_keeps_equal_places_as_they_stand():
    playlist, position = np.array([1, 0, 1, 0, 1], np.int32), np.array([2, 5, 2, 1, 0], np.int32)
    assert in_order(playlist, position).tolist() == [3, 1, 4, 0, 2]
    assert in_order(playlist[[3, 1, 4, 0, 2]], position[[3, 1, 4, 0, 2]]).tolist() == [0, 1, 2, 3, 4]


def test_strings_piece_by_piece():
    builder = StringsBuilder()
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
