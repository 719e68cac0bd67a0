"""Pictures: what they choose to show, where they put it, and what they say."""
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch

from common.errors import InputError
from gnn.sparse import Adj
from mpd.build import NODE_TYPES, build_graph
from mpd.split import Pairs
from pictures import charts, layout, maps, subgraphs, texts
from pictures.attention import entropy, most_heard


@pytest.fixture(scope="module")
def table(planted):
    return planted[0]


@pytest.fixture(scope="module")
def graph(table):
    return build_graph(table, Pairs(table.playlist, table.track, table.position))


# ---- what is shown ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("start", [("playlist", 3), ("track", 5), ("artist", 2)])
def test_a_snowball_keeps_its_limits_and_hangs_together(graph, start):
    limits = [dict.fromkeys(NODE_TYPES, n) for n in (4, 3, 5)]
    view = subgraphs.grow(graph, start, limits)
    assert start in view and nx.is_connected(view)
    for hop, limit in enumerate(limits, 1):
        new = [n for n, data in view.nodes(data=True) if data["hop"] == hop]
        for t in NODE_TYPES:
            found = view.graph["found"][hop - 1][t]
            assert sum(n[0] == t for n in new) == min(found, limit[t])
    assert all(abs(view.nodes[a]["hop"] - view.nodes[b]["hop"]) == 1 for a, b in view.edges)
    again = subgraphs.grow(graph, start, limits)
    assert list(again.nodes) == list(view.nodes) and set(again.edges) == set(view.edges)


def test_a_snowball_has_every_link_between_its_nodes(graph, table):
    view = subgraphs.grow(graph, ("playlist", 0), [{"track": 5}, {"playlist": 4, "artist": 9}])
    held = set(zip(table.playlist.tolist(), table.track.tolist()))
    for p in (i for t, i in view if t == "playlist"):
        for s in (i for t, i in view if t == "track"):
            assert view.has_edge(("playlist", p), ("track", s)) == ((p, s) in held)
    for s in (i for t, i in view if t == "track"):
        assert view.has_edge(("track", s), ("artist", int(table.track_artist[s])))


def test_an_ego_network_is_the_artists_tracks_and_their_playlists(graph, table):
    a = int(np.bincount(table.track_artist).argmax())
    tracks = set(np.flatnonzero(table.track_artist == a).tolist())
    playlists = set(table.playlist[np.isin(table.track, list(tracks))].tolist())
    view = subgraphs.grow(graph, ("artist", a), [{"track": 10_000}, {"playlist": 10_000}])
    assert set(view) == {("artist", a)} | {("track", t) for t in tracks} | {("playlist", p) for p in playlists}
    few = subgraphs.grow(graph, ("artist", a), [{"track": 3}, {"playlist": 4}])
    assert sorted(t for t, _ in few) == ["artist", *["playlist"] * 4, *["track"] * 3]
    assert texts.kept(few, 1, "track") == f"3 of {len(tracks)} tracks"


def test_ways_keep_one_for_every_end(graph):
    ways = [(("track", 0), ("playlist", p), ("track", t)) for t, p in ((1, 0), (1, 1), (1, 2), (2, 3))]
    kept = subgraphs.strongest_ways(graph, ways, 2)
    assert len(kept) == 2 and ("playlist", 3) in kept
    assert kept[("playlist", 3)] == [(("track", 0), ("playlist", 3)), (("playlist", 3), ("track", 2))]


def test_a_map_shows_the_largest_groups_and_some_of_the_rest():
    group = np.repeat(np.arange(30), np.arange(30, 0, -1))
    largest, ids = maps.sample(group, 100, seed=0)
    assert list(largest) == list(range(maps.SHOWN))
    assert len(ids) == len(set(ids)) == 100 and np.isin(group[ids], largest).sum() == 75
    assert len(maps.sample(np.zeros(50, int), 40, seed=0)[1]) == 40


def test_tracks_are_grouped_by_what_was_planted_or_asked_for(table):
    assert maps.grouped(table)[0] == "genre"
    what, group, names = maps.grouped(table, "artist")
    assert what == "artist" and np.array_equal(group, table.track_artist) and names is table.artist_names
    none = np.full(table.num_tracks, -1)
    bare = replace(table, note="", track_artist=none, track_album=none)
    what, group, names = maps.grouped(bare)
    assert what == "nothing" and (group == -1).all() and len(names) == 0
    with pytest.raises(InputError, match="--colour-by genre"):
        maps.grouped(bare, "genre")


# ---- where it goes ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(5))
def test_ordering_never_adds_crossings(seed):
    rng = np.random.default_rng(seed)
    columns = [[("track", 100 * c + i) for i in range(8)] for c in range(3)]
    edges = [(columns[c][i], columns[c + 1][j]) for c in (0, 1) for i, j in rng.integers(0, 8, (14, 2))]
    ordered = layout.order_columns(columns, edges)
    assert layout.crossings(ordered, edges) <= layout.crossings(columns, edges)
    assert [sorted(c) for c in ordered] == columns
    assert layout.order_columns(columns, edges, fixed=[1])[1] == columns[1]


def test_ordering_undoes_a_shuffle():
    columns = [[("a", i) for i in range(6)], [("b", i) for i in (3, 0, 5, 1, 4, 2)]]
    edges = [(("a", i), ("b", i)) for i in range(6)]
    assert layout.crossings(columns, edges) > 0
    assert layout.crossings(layout.order_columns(columns, edges), edges) == 0
    two = [[("a", 0), ("a", 1)], [("b", 0), ("b", 1)]]
    assert layout.crossings(two, [(("a", 0), ("b", 1)), (("a", 1), ("b", 0))]) == 1


def test_links_bend_around_the_columns_they_skip():
    columns = [[("a", 0), ("a", 1)], [("b", 0)], [("c", 0)]]
    bent, edges = layout.with_bends(columns, [(("a", 0), ("c", 0)), (("c", 0), ("a", 1)), (("a", 0), ("b", 0))])
    bend = ("bend", (1, ("c", 0)))
    assert bent[1] == [("b", 0), bend] and columns[1] == [("b", 0)]
    assert set(edges) == {(("a", 0), bend), (("a", 1), bend), (bend, ("c", 0)), (("a", 0), ("b", 0))}


def test_pca_and_tsne_keep_planted_clusters_apart():
    torch.manual_seed(0)
    group = torch.arange(5).repeat_interleave(40)
    x = 6 * torch.eye(5, 20)[group] + torch.randn(200, 20)
    y = maps.tsne(x, perplexity=15, steps=200)
    nearest = torch.cdist(y, y)
    assert (group[nearest.fill_diagonal_(torch.inf).argmin(1)] == group).float().mean() > 0.97
    two = maps.pca(x[:80])
    assert (two[:40, 0].max() < two[40:, 0].min()) or (two[:40, 0].min() > two[40:, 0].max())
    assert two[:, 0].var() > two[:, 1].var()


def test_neighbourhoods_have_the_wanted_perplexity():
    P = maps._neighbourhoods(torch.cdist(x := torch.randn(100, 4), x).square(), 12.0)
    assert torch.allclose(P.sum(1), torch.ones(100)) and not P.diagonal().any()
    assert torch.allclose(-torch.special.xlogy(P, P).sum(1), torch.tensor(12.0).log(), atol=1e-3)


# ---- what it says ----------------------------------------------------------------------------------------------------

def test_entropy_is_one_when_uniform_and_nought_when_certain():
    A = Adj.from_edges([0, 0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 0, 1, 0], (4, 4))
    found = entropy(A, torch.tensor([[0.25] * 4 + [0.5] * 2 + [1.0], [1.0, 0, 0, 0, 0.9, 0.1, 1.0]]))
    assert torch.allclose(found[0, :2], torch.ones(2)) and found[1, 0] == 0 and 0 < found[1, 1] < 1
    assert found[:, 2:].isnan().all()                           # one neighbour or none: nothing to choose


def test_the_most_heard_come_first_and_say_what_share_they_hold():
    nodes, share = [("track", i) for i in range(4)], torch.tensor([[0.1, 0.5, 0.4, 0.0], [0.1, 0.3, 0.6, 0.0]])
    two = most_heard(nodes, share, 2)
    assert two.nodes == [("track", 2), ("track", 1)] and np.allclose(two.share, [[0.4, 0.6], [0.5, 0.3]])
    assert two.said() == "2 of 4 neighbours"
    assert two.said_of_share() == ". Those shown hold 90% of the attention; were it uniform, 50%"
    everyone = most_heard(nodes, share, 9)
    assert everyone.said() == "4 neighbours" and everyone.said_of_share() == ""


def test_names_are_printable_and_no_formulas():
    assert texts.clean("A$AP & Ke$ha") == r"A\$AP & Ke\$ha"
    assert texts.clean("party 🎉🎉") == "party" and texts.clean("🎉") == "(no printable name)"
    assert texts.clean("x" * 30, 10) == "x" * 9 + "…"


def test_curves_that_differ_much_are_drawn_on_a_logarithmic_axis():
    rows = [[{"epoch": e, "loss": scale / e, "grad_norm": 1.0} for e in (1, 2, 3)] for scale in (1, 100)]
    figure = charts.draw_curves([("a", rows[0]), ("b", rows[1])], [], "ndcg@10", texts.Caption("two", "", ""))
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
