"""mpd/synthetic.py and the music of mpd/planted.py: what was planted is there."""

import re
from dataclasses import replace

import numpy as np
import pytest

import mpd
import mpd.synthetic
from mpd.planted import Sizes
from mpd.slices import read_slices
from mpd.synthetic import genres_of, plant, synthetic_mpd
from mpd.writer import write_slices


@pytest.fixture(scope="module")
def planted():
    return plant()


def test_sizes(planted):
    table, truth = planted
    lengths = np.bincount(table.playlist)
    assert table.num_playlists == len(lengths) == 2000
    assert 25 < lengths.mean() < 35 and 5 <= lengths.min() and lengths.max() <= 250
    assert 5000 < table.num_tracks < 7000
    assert 700 < table.num_artists < 1100 and 1500 < table.num_albums < 2200
    assert table.counts["entries"] == len(table.track) == len(truth.noise)
    pair = table.playlist.astype(np.int64) * table.num_tracks + table.track
    assert len(np.unique(pair)) == len(pair)  # no track twice in a playlist
    assert table.position.tolist() == np.concatenate([np.arange(n) for n in lengths]).tolist()
    for owner, number in ((table.track_artist, table.num_artists), (table.track_album, table.num_albums)):
        assert np.unique(owner).tolist() == list(range(number))
    artists = np.unique(table.playlist * np.int64(table.num_artists) + table.track_artist[table.track])
    assert (np.bincount(artists // table.num_artists) >= 3).mean() > 0.99


def test_genres_are_where_they_were_planted(planted):
    table, truth = planted
    genre, style = truth.track_genre, truth.artist_style[table.track_artist]
    assert np.array_equal(genre, truth.artist_genre[table.track_artist])
    of_playlist = truth.playlist_genres[table.playlist]  # (E, 3)
    fits = ((of_playlist == genre[table.track][:, None]) |
            ((of_playlist == style[table.track][:, None]) & (of_playlist >= 0))).any(1)
    assert fits[~truth.noise].mean() > 0.9
    assert 0.08 < truth.noise.mean() < 0.11
    assert fits[truth.noise].mean() < 0.4


def test_playlists_drift_through_their_genres(planted):
    table, truth = planted
    two = (truth.playlist_genres[:, 1] >= 0) & (truth.playlist_genres[:, 2] < 0)
    half = table.position >= np.bincount(table.playlist)[table.playlist] / 2
    for stage, where in ((0, ~half), (1, half)):
        here = two[table.playlist] & where & ~truth.noise
        genre = truth.track_genre[table.track[here]]
        share = [(genre == truth.playlist_genres[table.playlist[here], g]).mean() for g in (0, 1)]
        assert share[stage] > 0.5 and share[stage] > 3 * share[1 - stage]


def test_popularity_has_a_tail_and_neighbours_share_albums(planted):
    table, truth = planted
    count = np.sort(np.bincount(table.track))[::-1]
    assert count[:len(count) // 10].sum() > 0.25 * count.sum() and np.median(count) < 0.75 * count.mean()
    popular = truth.track_popularity > np.quantile(truth.track_popularity, 0.9)
    assert np.bincount(table.track)[popular].mean() > 2 * np.bincount(table.track)[~popular].mean()
    inside = table.playlist[1:] == table.playlist[:-1]
    artist = table.track_artist[table.track]
    assert (artist[1:] == artist[:-1])[inside].mean() > 0.1


def test_titles_name_the_genres(planted):
    table, truth = planted
    named = [any(truth.genre_names[g] in title for g in genres if g >= 0)
             for title, genres in zip(table.playlist_names, truth.playlist_genres)]
    assert np.mean(named) > 0.8


def test_names_and_uris(planted):
    table, _ = planted
    for kind in ("track", "artist", "album"):
        uris = getattr(table, f"{kind}_uris").tolist()
        assert len(set(uris)) == len(uris)
        assert all(re.fullmatch(rf"spotify:{kind}:[0-9A-Za-z]{{22}}", uri) for uri in uris)
    assert len(set(table.artist_names)) == table.num_artists
    assert all(re.fullmatch(r"[A-Z]\w+ [A-Z]\w+.*", name) for name in table.track_names)


def test_seed_decides():
    assert plant(100, seed=3)[0] == plant(100, seed=3)[0]
    assert plant(100, seed=3)[0] != plant(100, seed=4)[0]


@pytest.mark.parametrize("arguments", [
    {"num_playlists": 1}, {"num_playlists": 20, "sizes": Sizes(tracks=300, artists=5, albums=5)},
    {"num_playlists": 50, "sizes": Sizes(genres=1)},
    {"num_playlists": 30, "mean_length": 300, "sizes": Sizes(tracks=400)},
    {"num_playlists": 200, "noise": 0.0, "follow": 0.0}])
def test_any_size(tmp_path, arguments):
    table, _ = plant(**arguments)
    assert table.num_playlists == arguments["num_playlists"]
    write_slices(tmp_path, table)
    assert read_slices(tmp_path, cache=None, workers=0) == table


def test_the_note_says_how_to_plant_it_again():
    table, truth = plant(60, seed=5, sizes=Sizes(tracks=300, genres=4), follow=0.2)
    assert table.note.endswith(': plant {"num_playlists": 60, "seed": 5, "num_tracks": 300, "num_genres": 4, "follow": 0.2}')
    genre, names = genres_of(table)
    assert np.array_equal(genre, truth.track_genre) and names == truth.genre_names
    rest = table.select(np.arange(60) > 30, np.arange(table.num_tracks) % 2 == 1)
    assert np.array_equal(genres_of(rest)[0], truth.track_genre[1::2])
    assert plant(60)[0].note.endswith(': plant {"num_playlists": 60, "seed": 0}')
    assert genres_of(replace(table, note="")) is None and genres_of(replace(table, note=mpd.synthetic.NOTE)) is None


def test_chunks_do_not_show(monkeypatch):
    monkeypatch.setattr(mpd.synthetic, "CHUNK", 64)
    table, truth = plant(300)
    assert np.unique(table.playlist).tolist() == list(range(300)) and len(truth.playlist_genres) == 300
    first = np.unique(table.track, return_index=True)[1]
    assert (np.diff(first) > 0).all()  # numbered by first appearance


def test_generated_once_and_whole(tmp_path, monkeypatch):
    folder = synthetic_mpd(tmp_path / "s", num_playlists=30)
    (file,) = folder.iterdir()
    before = file.stat().st_mtime_ns
    assert synthetic_mpd(tmp_path / "s", num_playlists=30) == folder and file.stat().st_mtime_ns == before
    assert synthetic_mpd(tmp_path / "s", num_playlists=30, seed=1) != folder

    def full_disk(folder, *rest):
        (folder / "mpd.slice.0-999.json").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mpd.synthetic, "write_slices", full_disk)
    with pytest.raises(OSError):
        synthetic_mpd(tmp_path / "t", num_playlists=30)
    assert not any((tmp_path / "t").iterdir())


def test_load_without_a_path_is_synthetic(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = mpd.load()
    assert "SYNTHETIC" in table.note and table == plant()[0] == mpd.load()
