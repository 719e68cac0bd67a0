"""audio/store.py: what a store holds and survives, and the features made of it, by hand."""
import numpy as np
import pytest

from audio.store import (DENIED, FEATURES, FOUND, MISSING, RETRY, Record, Store, read_store, track_features,
                         write_synthetic)
from common.errors import InputError

from services import uri


def test_a_store_cut_at_any_byte_is_read_and_resumed(server, ask, tmp_path):
    server.unknown = {uri(1)[-22:]}
    whole = ask(2).path.read_bytes()
    kept = []
    for cut in range(len(whole) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:cut])
        complete = [record.uri for record in read_store(path)]
        kept.append(len(complete))
        assert complete == [uri(i) for i in range(whole[:cut].count(b"\n"))]
        server.asked.clear()
        ask(2, path=path)
        rest = [uri(i)[-22:] for i in range(len(complete), 2)]
        assert server.asked == ([rest] if rest else [])
        assert path.read_bytes() == whole
    assert sorted(set(kept)) == [0, 1, 2]


def test_only_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "store.jsonl"
    many = [Record(uri(i), "s", FOUND, {"energy": 0.5}) for i in range(2000)]      # more than is read at the end
    with Store(path, "s") as store:
        store.append(many)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    with Store(path, "s"):
        pass
    assert path.read_bytes() == whole and list(read_store(path)) == many


@pytest.mark.parametrize("text", ["pid,track\n", "pid,track", "[1]\n", '{"uri":"u","source":"s","state":"lost"}\n',
                                  '{"uri":"u","source":"s"}\n', "\n", '{"uri":"u","source":"s","state":"found",'
                                  '"features":{"energy":"high"}}\n', "\x00\x00\x00"])
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "notes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="notes.csv, line 1"):
        Store(path, "s")
    assert path.read_text() == text


def test_found_overrules_and_later_words_of_a_source_replace_earlier_ones(tmp_path):
    path = tmp_path / "store.jsonl"
    with Store(path, "a") as store:
        store.append([Record(uri(0), "a", RETRY), Record(uri(0), "a", MISSING), Record(uri(1), "b", FOUND, {"key": 1}),
                      Record(uri(1), "a", MISSING), Record(uri(2), "b", DENIED)])
    assert store.state == Store(path, "a").state == {uri(0): MISSING, uri(1): FOUND}
    assert Store(path, "b").state == {uri(1): FOUND, uri(2): DENIED}


# ---- features of tracks ----------------------------------------------------------------------------------------------

def test_track_features_by_hand(planted, tmp_path):
    playlists = planted[0].select(np.ones(planted[0].num_playlists, bool), np.arange(planted[0].num_tracks) < 4)
    uris = playlists.track_uris.tolist()
    with Store(tmp_path / "store.jsonl", "s") as store:
        store.append([
            Record(uris[0], "s", MISSING), Record(uris[0], "t", FOUND, {"tempo": 100.0, "key": 0, "mode": 1}),
            Record(uris[1], "s", FOUND, {"tempo": 90.0}),
            Record(uris[1], "s", FOUND, {"tempo": 140.0, "key": -1, "mode": 1}),
            Record(uris[2], "s", FOUND, {"tempo": 120.0, "key": 6, "mode": 1}), Record(uris[2], "t", MISSING),
            Record(uris[3], "s", DENIED), Record(uri(0), "s", FOUND, {"tempo": 1e6, "energy": 1})])
    features, names, coverage = track_features(tmp_path / "store.jsonl", playlists)
    assert names == ["mode", "tempo", "key_sin", "key_cos", "missing"] and coverage == 0.75
    root = 1.5 ** 0.5           # tempo: mean 120, variance (20² + 20² + 0) / 3; C and F sharp: opposite keys
    assert features.dtype.is_floating_point and features.shape == (4, 5)
    np.testing.assert_allclose(features, [[0, -root, 0, 1, 0], [0, root, 0, 0, 0.5], [0, 0, 0, -1, 0], [0, 0, 0, 0, 1]],
                               atol=1e-6)


def test_neighbours_on_the_circle_of_fifths(planted, tmp_path):
    playlists = planted[0].select(np.ones(planted[0].num_playlists, bool), np.arange(planted[0].num_tracks) < 12)
    with Store(tmp_path / "store.jsonl", "s") as store:
        store.append(Record(u, "s", FOUND, {"key": i}) for i, u in enumerate(playlists.track_uris))
    features, names, _ = track_features(tmp_path / "store.jsonl", playlists)
    point = features[:, [names.index("key_sin"), names.index("key_cos")]].numpy()
    np.testing.assert_allclose(np.linalg.norm(point, axis=1), 2 ** 0.5, atol=1e-5)
    distance = np.linalg.norm(point[:, None] - point[None], axis=2)
    assert sorted(np.argsort(distance[0])[1:3]) == [5, 7]       # nearest to C: F and G
    assert np.argmax(distance[0]) == 6                          # farthest: F sharp


def test_a_store_of_other_tracks_is_refused(planted, tmp_path):
    with Store(tmp_path / "store.jsonl", "s") as store:
        store.append([Record(uri(0), "s", FOUND, {"energy": 1})])
    with pytest.raises(InputError, match="none of the"):
        track_features(tmp_path / "store.jsonl", planted[0])
    with pytest.raises(InputError, match="no such store"):
        track_features(tmp_path / "nothing.jsonl", planted[0])


def test_synthetic_features_tell_genres_apart(planted, tmp_path):
    playlists, truth = planted
    path = tmp_path / "store.jsonl"
    write_synthetic(path, playlists, truth, seed=5)
    features, names, coverage = track_features(path, playlists)
    x, genre = features.numpy(), truth.track_genre
    assert len(names) == features.shape[1] == len(FEATURES) + 2 and np.isfinite(x).all()
    assert 0.85 < coverage < 0.95 and coverage == pytest.approx(1 - x[:, -1].mean(), abs=1e-6)
    known = x[:, -1] == 0
    np.testing.assert_allclose(x[known, :-1].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x[known, :-1].std(0), 1, atol=1e-4)
    assert (x[~known, :-1] == 0).all()
    even, odd = known & (np.arange(len(x)) % 2 == 0), known & (np.arange(len(x)) % 2 == 1)
    present = np.intersect1d(genre[even], genre[odd])
    centre = np.stack([x[even & (genre == g)].mean(0) for g in present])
    judged = odd & np.isin(genre, present)
    nearest = present[((x[judged, None] - centre[None]) ** 2).sum(2).argmin(1)]
    assert (nearest == genre[judged]).mean() > 0.9 > 3 * np.bincount(genre).max() / len(genre)
    whole = path.read_bytes()
    write_synthetic(path, playlists, truth, seed=5)
    assert path.read_bytes() == whole
