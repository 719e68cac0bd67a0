"""mpd/kcore.py against removal one node at a time, and against networkx."""

import networkx as nx
import numpy as np
import pytest

from common.errors import InputError
from mpd.kcore import k_core
from mpd.playlists import Playlists, Strings


def random_table(seed, num_playlists=40, num_tracks=60, num_entries=400):
    rng = np.random.default_rng(seed)
    pairs = np.unique(np.stack([rng.integers(0, num_playlists, num_entries),
                                np.minimum(rng.zipf(1.4, num_entries) - 1, num_tracks - 1)], 1), axis=0)
    playlist, track = pairs.T.astype(np.int32)
    start = np.searchsorted(playlist, np.arange(num_playlists))

    def words(prefix, n):
        return Strings.of(f"{prefix}{i}" for i in range(n))

    return Playlists(
        playlist=playlist, track=track, position=(np.arange(len(track)) - start[playlist]).astype(np.int32),
        track_artist=rng.integers(-1, 15, num_tracks).astype(np.int32),
        track_album=rng.integers(-1, 30, num_tracks).astype(np.int32),
        pids=np.arange(num_playlists) + 100, playlist_names=words("p", num_playlists),
        track_uris=words("t", num_tracks), track_names=words("n", num_tracks),
        artist_uris=words("a", 15), artist_names=words("a", 15),
        album_uris=words("b", 30), album_names=words("b", 30),
        own_test=rng.integers(0, [[num_playlists], [num_tracks]], (2, 50)).astype(np.int32))


def pairs_of(table, pairs):
    return [(int(table.pids[p]), table.track_uris[t]) for p, t in zip(*pairs)]


def one_at_a_time(pairs, k):
    """Remove one node of too low a degree, look again."""
    while True:
        nodes = [node for pair in pairs for node in pair]
        low = next((n for n in nodes if nodes.count(n) < k), None)
        if low is None:
            return pairs
        pairs = [pair for pair in pairs if low not in pair]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [2, 3, 4])
def test_equals_removal_one_at_a_time(seed, k):
    table = random_table(seed)
    core = k_core(table, k)
    kept = one_at_a_time(pairs_of(table, (table.playlist, table.track)), k)
    assert pairs_of(core, (core.playlist, core.track)) == kept
    graph = nx.Graph(pairs_of(table, (table.playlist, table.track)))
    assert set(nx.k_core(graph, k)) == set(core.pids.tolist()) | set(core.track_uris)
    assert np.bincount(core.playlist).min() >= k and np.bincount(core.track).min() >= k
    assert core.counts["entries"] == len(core.track)


@pytest.mark.parametrize("seed", range(3))
def test_the_rest_of_the_table_follows(seed):
    table = random_table(seed)
    core = k_core(table, 3)
    old_track = [table.track_uris.tolist().index(uri) for uri in core.track_uris]
    for uris, owner in (("artist_uris", "track_artist"), ("album_uris", "track_album")):
        for new, old in enumerate(old_track):
            a, b = getattr(core, owner)[new], getattr(table, owner)[old]
            assert (a < 0 and b < 0) or getattr(core, uris)[a] == getattr(table, uris)[b]
        owners = getattr(core, owner)
        assert np.unique(owners[owners >= 0]).tolist() == list(range(len(getattr(core, uris))))
    held_out = pairs_of(table, table.own_test)
    kept = [(p, t) for p, t in held_out if p in core.pids and t in core.track_uris.tolist()]
    assert pairs_of(core, core.own_test) == kept
    position = dict(zip(pairs_of(table, (table.playlist, table.track)), table.position.tolist()))
    assert [position[pair] for pair in pairs_of(core, (core.playlist, core.track))] == core.position.tolist()
    again = k_core(core, 3)
    assert again == core


@pytest.mark.parametrize("k", [1, 0, -2])
def test_small_k_removes_nothing(k):
    table = random_table(0)
    assert k_core(table, k) is table


@pytest.mark.parametrize("seed", range(5))
def test_removing_everything_names_the_largest_k(seed):
    table = random_table(seed)
    largest = max(nx.core_number(nx.Graph(pairs_of(table, (table.playlist, table.track)))).values())
    assert len(k_core(table, largest).track)
    for k in (largest + 1, 10_000):
        with pytest.raises(InputError, match=rf"^k-core: k = {k} .* is {largest}$"):
            k_core(table, k)
