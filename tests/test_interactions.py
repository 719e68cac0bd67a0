"""mpd/interactions.py: planted lines, every error, Gowalla's published sizes."""

import zipfile

import numpy as np
import pytest

import mpd
from common.errors import InputError
from helpers import SHARED
from mpd.interactions import is_interactions, read_interactions

TRAIN = "7 30 10 30 20\n2 10\n\n5\n"
TEST = "7 40 10 40\n2 20\n9 50\n"


def write(folder, train=TRAIN, test=TEST):
    folder.mkdir(exist_ok=True)
    for name, text in (("train.txt", train), ("test.txt", test)):
        if text is not None:
            (folder / name).write_text(text)
    return folder


def zipped(folder, path, inside=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, inside + file.name)
    return path


def test_planted_lines(tmp_path):
    table = read_interactions(write(tmp_path / "d"))
    assert table.pids.tolist() == [2, 5, 7, 9]
    assert table.track_uris.tolist() == ["10", "20", "30", "40", "50"]
    assert table.playlist.tolist() == [0, 2, 2, 2] and table.track.tolist() == [0, 2, 0, 1]
    assert table.position.tolist() == [0, 0, 1, 3]  # place 2 held a repetition
    assert table.own_test.tolist() == [[0, 2, 3], [1, 3, 4]]  # (7, 10) is in train
    assert table.counts == {"entries": 4, "duplicates": 2, "conflicts": 0, "skipped_playlists": 0,
                            "skipped_slices": 0, "test_in_train": 1}
    assert table.num_artists == table.num_albums == 0
    assert table.track_artist.tolist() == table.track_album.tolist() == [-1] * 5
    for array in (table.playlist, table.track, table.position, table.own_test):
        assert array.dtype == np.int32


def test_user_on_two_lines(tmp_path):
    table = read_interactions(write(tmp_path / "d", "1 5 6\n0 5\n1 6 7\n", ""))
    assert table.playlist.tolist() == [0, 1, 1, 1] and table.track.tolist() == [0, 0, 1, 2]
    assert table.position.tolist() == [0, 0, 1, 3] and table.own_test.shape == (2, 0)


def test_zip_equals_folder(tmp_path):
    folder = write(tmp_path / "d")
    table = read_interactions(folder)
    assert read_interactions(zipped(folder, tmp_path / "a.zip")) == table
    assert read_interactions(zipped(folder, tmp_path / "b.zip", "gowalla/")) == table
    assert mpd.load(tmp_path / "b.zip") == mpd.load(folder) == table


def test_selected_split(tmp_path):
    table = read_interactions(write(tmp_path / "d"))
    part = table.select(np.array([True, False, True, False]), np.array([True, True, True, False, True]))
    assert part.own_test.tolist() == [[0], [1]] and part.pids.tolist() == [2, 7]


def test_is_interactions(tmp_path):
    folder = write(tmp_path / "d")
    assert is_interactions(folder) and is_interactions(zipped(folder, tmp_path / "a.zip"))
    (tmp_path / "b.zip").write_bytes(b"no zip")
    (tmp_path / "e").mkdir()
    assert not any(is_interactions(tmp_path / name) for name in ("b.zip", "e", "nowhere", "d/train.txt"))


@pytest.mark.parametrize("token", ["x", "1.5", "9" * 30, "٣x"])
def test_bad_token(tmp_path, token):
    folder = write(tmp_path / "d", test=f"7 40\n2 20 {token}\n")
    for path, name in ((folder, f"{folder / 'test.txt'}"), (zipped(folder, tmp_path / "a.zip"), None)):
        with pytest.raises(InputError) as caught:
            read_interactions(path)
        text = str(caught.value)
        assert text.startswith(f"{name or f'{path}:test.txt'}: line 2: ")
        assert token in text and "\n" not in text


@pytest.mark.parametrize("missing", ["train", "test"])
def test_missing_file(tmp_path, missing):
    folder = write(tmp_path / "d", **{missing: None})
    for path in (folder, zipped(folder, tmp_path / "a.zip")):
        with pytest.raises(InputError, match=rf"{missing}.txt: missing; .*"):
            read_interactions(path)


def test_nothing_in_it(tmp_path):
    with pytest.raises(InputError, match="names no item"):
        read_interactions(write(tmp_path / "d", "1\n2\n", ""))


@pytest.mark.skipif(not (SHARED / "gowalla.zip").exists(), reason="the shared data are not here")
def test_gowalla():
    table = read_interactions(SHARED / "gowalla.zip")
    assert (table.num_playlists, table.num_tracks) == (29858, 40981)
    assert (len(table.track), table.own_test.shape[1]) == (810128, 217242)
