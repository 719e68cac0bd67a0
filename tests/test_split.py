"""mpd/split.py, the leak rule: what is held out is in no message and in no degree; the parts are whole."""
import dataclasses

import numpy as np
import pytest

from common.errors import InputError
from mpd.build import CONTAINS, IN, build_graph
from mpd.split import COLD_GIVEN, make_split


def keys(pairs, playlists):
    return pairs.playlist.astype(np.int64) * playlists.num_tracks + pairs.track


@pytest.mark.parametrize("by", ["random", "last", "cold"])
def test_parts_are_disjoint_and_complete(planted, by):
    playlists, _ = planted
    split = make_split(playlists, by, seed=3)
    parts = [split.train, split.val, split.test, split.given_val, split.given_test]
    together = np.concatenate([keys(part, playlists) for part in parts])
    assert np.array_equal(np.sort(together), np.sort(keys(playlists, playlists)))
    shares = np.array([split.train.size, split.val.size, split.test.size]) / playlists.playlist.size
    assert np.allclose(shares, (0.8, 0.1, 0.1), atol=0.05)


@pytest.mark.parametrize("by", ["random", "last", "cold"])
def test_no_held_out_pair_in_either_direction_or_degree(planted, by):
    playlists, _ = planted
    split = make_split(playlists, by)
    graph = build_graph(playlists, split.train)
    hidden = np.concatenate([keys(p, playlists) for p in (split.val, split.test, split.given_val, split.given_test)])
    forth, back = graph.adjs[IN], graph.adjs[CONTAINS]
    assert not np.isin(forth.row.numpy() * np.int64(playlists.num_tracks) + forth.col.numpy(), hidden).any()
    assert not np.isin(back.col.numpy() * np.int64(playlists.num_tracks) + back.row.numpy(), hidden).any()
    held, holding = (np.bincount(ids, minlength=n) for ids, n in (
        (split.train.playlist, playlists.num_playlists), (split.train.track, playlists.num_tracks)))
    assert np.array_equal(forth.row_degree.numpy(), held) and np.array_equal(back.row_degree.numpy(), holding)


def test_same_seed_same_split(planted):
    playlists, _ = planted
    one, two, other = (make_split(playlists, seed=s) for s in (0, 0, 1))
    assert np.array_equal(keys(one.test, playlists), keys(two.test, playlists))
    assert not np.array_equal(keys(one.test, playlists), keys(other.test, playlists))


def test_last_hides_the_end_of_every_playlist(planted):
    playlists, _ = planted
    split = make_split(playlists, "last")
    for p in range(playlists.num_playlists):
        inside, val, test = (part.position[part.playlist == p] for part in (split.train, split.val, split.test))
        assert inside.size >= 1
        assert val.size == 0 or inside.max() < val.min()
        assert test.size == 0 or max(inside.max(), val.max(initial=-1)) < test.min()


def test_cold_playlists_are_whole_and_show_their_first_tracks(planted):
    playlists, _ = planted
    split = make_split(playlists, "cold")
    assert not np.intersect1d(split.train.playlist, split.test.playlist).size
    for p in np.unique(split.test.playlist):
        shown = split.given_test.position[split.given_test.playlist == p]
        assert shown.size == COLD_GIVEN and shown.max() < split.test.position[split.test.playlist == p].min()


@pytest.mark.parametrize("shares, problem", [((0.5, 0.1, 0.1), "sum to 1"), ((1.2, -0.1, -0.1), "at least 0"),
                                             ((0, 0.5, 0.5), "nothing to train on")])
def test_impossible_shares(planted, shares, problem):
    with pytest.raises(InputError, match=problem):
        make_split(planted[0], shares=shares)


def test_all_for_training(planted):
    split = make_split(planted[0], shares=(1, 0, 0))
    assert split.train.size == planted[0].playlist.size and split.val.size == split.test.size == 0


def test_own_test_part_is_kept(planted):
    playlists, _ = planted
    own = dataclasses.replace(playlists, own_test=np.array([[0, 1], [5, 6]], dtype=np.int32))
    split = make_split(own, shares=(1, 0, 0))
    assert split.train.size == playlists.playlist.size and split.test.track.tolist() == [5, 6]
    split = make_split(own, shares=(0.9, 0.1, 0))
    assert split.val.size == pytest.approx(0.1 * playlists.playlist.size, abs=1) and split.test.size == 2
