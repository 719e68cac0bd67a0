"""recommending/recommender.py on planted playlists, where the right answer is known."""
import numpy as np
import pytest

import evaluate
from common.errors import InputError
from recommending import Recommender
from training.folder import load_split
from training.trained import Trained

from helpers import holds, quick


def test_a_playlists_tracks_are_never_recommended(music, trained):
    for p, tracks in list(holds(trained, "train", "val", "test").items())[:40]:
        found = music.complete(int(music.playlists.pids[p]), n=50)
        assert len(found) == 50 and not tracks & {r.track for r in found}
        assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)


def test_as_trained_ranks_as_evaluate_does(trained):
    """What `complete` lists is what evaluate.py scores: held-out tracks are candidates, and recall agrees."""
    music, held = Recommender.load(trained, as_trained=True), holds(trained, "test")
    recall = np.mean([len({r.track for r in music.complete(int(music.playlists.pids[p]))} & tracks) / len(tracks)
                      for p, tracks in held.items()])
    (row,) = evaluate.tradeoff(Trained(trained), "test", [0.0], [10])
    assert recall == pytest.approx(row["recall@10"], abs=1e-6)


@pytest.mark.parametrize("model, by", [("lightgcn", "random"), ("lightgcn", "last"), ("gcn", "last"),
                                       ("rgcn", "random"), ("rgcn", "last"), ("hgt", "random")])
def test_fold_in_finds_what_the_playlist_itself_would_find(slices, model, by):
    run = quick(slices, "--model", model, "--split-by", by, "--epochs", "4")
    music, known, held = Recommender.load(run, as_trained=True), load_split(run, ("train",)).train, holds(run, "test")
    order = np.lexsort((known.position, known.playlist))
    of = {}
    for p, t in zip(known.playlist[order].tolist(), known.track[order].tolist()):
        of.setdefault(p, []).append(t)

    def recall(lists):
        return np.mean([len({r.track for r in lists(p)} & held[p]) / len(held[p]) for p in held if p in of])
    own = recall(lambda p: music.complete(int(music.playlists.pids[p])))
    assert recall(lambda p: music.from_seeds(of[p])) >= 0.9 * own > 0.02


def test_seeds_of_a_genre_bring_that_genre(music, planted):
    _, truth = planted
    genre = dict(zip(planted[0].track_uris, truth.track_genre))
    popular = np.argsort(-music.counts.numpy())
    right = []
    for g in range(3):
        seeds = [int(t) for t in popular if genre[music.playlists.track_uris[t]] == g][:3]
        right += [genre[r.uri] == g for r in music.from_seeds(seeds, n=10)]
    assert np.mean(right) > 2 * np.mean(truth.track_genre == np.bincount(truth.track_genre).argmax())


def test_a_title_brings_the_genre_it_names(music, planted):
    _, truth = planted
    genre = dict(zip(planted[0].track_uris, truth.track_genre))
    right = [genre[r.uri] == g for g, name in enumerate(truth.genre_names[:3])
             for r in music.from_title(f"{name} mix!")]
    assert np.mean(right) > 0.5
    with pytest.raises(InputError, match="shares a word"):
        music.from_title("zzzz")


def test_later_songs_count_more_where_ends_were_learnt(continued):
    music = Recommender.load(continued)
    given = music.holding([[5, 9, 30]])
    weights = music.readout.weights(given).dense()[0]
    assert weights[30] > weights[9] > weights[5] > 0
    assert music.from_seeds([5, 9, 30], 5) != music.from_seeds([30, 9, 5], 5)


def test_short_lists_and_long_ones(music):
    T = music.playlists.num_tracks
    everything = music.from_seeds([0, 1, 2], n=T + 50)
    assert len(everything) == T - 3 and {r.track for r in everything} == set(range(3, T))
    assert music.from_seeds([0, 1, 2], n=7) == everything[:7]


def test_similar_tracks_and_artists_share_a_genre(music, planted):
    table, truth = planted
    genre = dict(zip(table.track_uris, truth.track_genre)) | dict(zip(table.artist_uris, truth.artist_genre))
    some = np.argsort(-music.counts.numpy())[:20].tolist()
    tracks = [genre[s.uri] == genre[music.playlists.track_uris[t]] for t in some for s in music.similar(t, 5)]
    artists = [genre[s.uri] == genre[uri] for uri in list(music.playlists.artist_uris)[:20]
               for s in music.similar_artists(uri, 5)]
    chance = np.mean(truth.track_genre[:, None] == truth.track_genre)
    assert np.mean(tracks) > 3 * chance and np.mean(artists) > 2 * chance
    assert all(s.index != some[0] for s in music.similar(some[0], 50))


def test_the_library_refuses_the_same(music):
    for call in (lambda: music.track(3.5), lambda: music.similar(5, n=0), lambda: music.complete(0, n=0),
                 lambda: music.complete(0, popularity_penalty=np.nan), lambda: music.from_seeds([]),
                 lambda: music.from_seeds([10 ** 6]), lambda: music.explain(0),
                 lambda: music.explain(0, playlist=0, seeds=[1])):
        with pytest.raises(InputError):
            call()
