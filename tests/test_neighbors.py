"""Sampled blocks: within the fan-out, only real edges, every neighbour equally likely, equal to the whole when full."""
import pytest
import torch

from gnn import MODELS, make_model, view_of
from gnn.graph import HeteroGraph
from gnn.sparse import Adj
from mpd.build import CONTAINS, IN, build_graph
from mpd.split import make_split
from sampling.neighbors import FULL, NeighborSampler, exclude_targets

from helpers import seeded

DRAWS = ["shuffled", "independent"]


@pytest.fixture(scope="module")
def graph(planted):
    playlists, _ = planted
    return build_graph(playlists, make_split(playlists).train)


def edges_of(A, rows=None, cols=None):
    """{(dst, src)} of an adjacency, in global ids where the id tables are given."""
    dst, src = A.row.long(), A.col.long()
    return set(zip((dst if rows is None else rows[dst]).tolist(), (src if cols is None else cols[src]).tolist()))


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("draw", DRAWS)
def test_blocks_hold_real_edges_within_the_fanout(graph, draw, merged):
    view = graph.merged() if merged else graph
    sampler = NeighborSampler(view, [5, 3], seeded(), draw)
    node_type = next(iter(view.num_nodes))
    for _ in range(3):
        nodes, adjs, local = sampler.sample({node_type: torch.tensor([4, 9, 4, 0])})
        assert nodes[node_type][local[node_type]].tolist() == [4, 9, 4, 0]              # local ids round-trip
        assert all(len(ids.unique()) == len(ids) for ids in nodes.values())
        for layer, adj in enumerate(adjs):
            for (src, name, dst), A in adj.items():
                assert edges_of(A, nodes[dst], nodes[src]) <= edges_of(view.adjs[src, name, dst])
                assert len(edges_of(A)) == A.num_edges                                  # none twice
                full = view.adjs[src, name, dst].ptr.diff()[nodes[dst][:A.shape[0]]]
                seeds = 3 if dst == node_type else 0
                degree = A.ptr.diff()
                assert torch.equal(degree[:seeds], full[:seeds].clamp(max=5))           # first hop
                assert torch.equal(degree[seeds:], full[seeds:].clamp(max=3))           # second hop
                assert A.shape[1] == (len(nodes[src]) if layer == 0 else adjs[0][next(
                    r for r in adjs[0] if r[2] == src)].shape[0])
        assert all((sampler.local[t] == -1).all() for t in view.num_nodes)               # nothing left behind


@pytest.mark.parametrize("draw", DRAWS)
def test_the_blocks_of_two_playlists(draw):
    """The example at the top of sampling/neighbors.py: its edges, and which rows and columns each layer has."""
    inside = {(4, 30), (4, 11), (9, 11), (9, 25), (6, 30), (2, 25)}
    A = Adj.from_edges(*zip(*inside), (10, 31))
    graph = HeteroGraph({"playlist": 10, "track": 31}, {IN: A, CONTAINS: A.T})
    sampler = NeighborSampler(graph, [2, 2], seeded(), draw)
    nodes, (wide, last), local = sampler.sample({"playlist": torch.tensor([4, 9])})
    P, T = nodes["playlist"], nodes["track"]
    assert P[:2].tolist() == [4, 9] and {*P[2:].tolist()} == {6, 2} and {*T.tolist()} == {30, 11, 25}
    assert len(P) == 4 and len(T) == 3 and local["playlist"].tolist() == [0, 1]
    assert [wide[r].shape for r in (IN, CONTAINS)] == [(2, 3), (3, 4)]
    assert [last[r].shape for r in (IN, CONTAINS)] == [(2, 3), (0, 2)]
    assert edges_of(wide[IN], P, T) == edges_of(last[IN], P, T) == {(p, t) for p, t in inside if p in (4, 9)}
    assert edges_of(wide[CONTAINS], T, P) == {(t, p) for p, t in inside}


def test_rows_longer_than_the_fanout_are_followed_by_their_first_entries():
    """The example of sampling.neighbors._Lists: nodes with neighbours a … e = 0 … 4 and f g = 5 6."""
    A = Adj.from_edges([0] * 5 + [1] * 2, range(7), (2, 7))
    lists = NeighborSampler(HeteroGraph({"playlist": 2, "track": 7}, {IN: A}), [2, 3], seeded()).lists[IN]
    assert lists.start.tolist() == [0, 7] and lists.place.tolist() == [0, 1, 2, 3, 4, 0, 1, 5, 6]
    assert lists.col[:5].tolist() != [0, 1, 2, 3, 4] and torch.equal(lists.col[:2], lists.col[5:7])
    assert {*lists.col[:5].tolist()} == {*range(5)} and {*lists.col[7:].tolist()} == {5, 6}


def test_another_way_to_draw_is_refused(graph):
    with pytest.raises(ValueError, match="draw 'window': must be"):
        NeighborSampler(graph, [2, 2], seeded(), "window")


@pytest.mark.parametrize("draw", DRAWS)
def test_every_neighbour_is_equally_likely(draw):
    """3 of 12 neighbours: every one of them a quarter of the time, and every pair equally often."""
    playlists, rounds = 60, 50
    A = Adj.from_edges([p for p in range(playlists) for _ in range(12)] + [playlists] * 2,
                       [*range(12)] * playlists + [3, 4], (playlists + 1, 12))
    sampler = NeighborSampler(HeteroGraph({"playlist": playlists + 1, "track": 12}, {IN: A, CONTAINS: A.T}), [3],
                              seeded(1), draw)
    count, pairs = torch.zeros(12), torch.zeros(12, 12)
    for _ in range(rounds):
        sampler.shuffle()
        nodes, adjs, _ = sampler.sample({"playlist": torch.arange(playlists)})
        for picked in nodes["track"][adjs[0][IN].col.long()].view(playlists, 3):
            count[picked] += 1
            pairs[picked.unsqueeze(1), picked] += 1
    draws = playlists * rounds
    expected = draws * 3 / 12
    assert float(((count - expected) ** 2 / expected).sum()) < 31                       # 99.9 %, 11 degrees of freedom
    pairs = pairs[torch.triu_indices(12, 12, 1).unbind()]
    expected = draws * 3 / 66
    assert float(((pairs - expected) ** 2 / expected).sum()) < 105                      # 99.9 %, 65 degrees of freedom


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_full_fanout_equals_the_full_graph(graph, name, draw):
    view = view_of(name, graph)
    torch.manual_seed(0)
    net = make_model(view, name, dim=8, layers=2, heads=2).double()
    for fanouts in ([FULL, FULL], [10_000, 10_000]):
        sampler = NeighborSampler(view, fanouts, seeded(), draw)
        where, ids = view.locate("playlist", torch.tensor([3, 8, 5]))
        other, tracks = view.locate("track", torch.tensor([1, 2]))
        seeds = {where: torch.cat([ids, tracks])} if where == other else {where: ids, other: tracks}
        nodes, adjs, local = sampler.sample(seeds)
        sampled = net(nodes, adjs)[1]
        full = net(None, [view.adjs] * 2)[1]
        for t in seeds:
            assert torch.allclose(sampled[t][local[t]], full[t][seeds[t]], atol=1e-9), t


@torch.no_grad()
@pytest.mark.parametrize("name", ["lightgcn", "hetero-sage"])
def test_the_sampled_estimate_is_unbiased(graph, name):
    """One linear layer: the mean of many sampled results is the full one."""
    view = view_of(name, graph)
    torch.manual_seed(0)
    net = make_model(view, name, dim=4, layers=1)
    where, ids = view.locate("playlist", torch.arange(20))
    sampler, full = NeighborSampler(view, [4], seeded()), net(None, [view.adjs])[1][where][ids]
    total, rounds = torch.zeros_like(full), 600
    for _ in range(rounds):
        sampler.shuffle()
        nodes, adjs, local = sampler.sample({where: ids})
        total += net(nodes, adjs)[1][where][local[where]]
    assert float((total / rounds - full).abs().max()) < 0.15 * float(full.abs().max())
    assert float((total / rounds - full).norm() / full.norm()) < 0.05


@pytest.mark.parametrize("merged", [False, True])
def test_targets_are_gone_in_both_directions_and_nothing_else(graph, merged):
    view = graph.merged() if merged else graph
    inside = graph.adjs[IN]
    pick = torch.randperm(inside.num_edges, generator=seeded())[:50]
    p, t = inside.row[pick].long(), inside.col[pick].long()
    (P, p), (T, t) = view.locate("playlist", p), view.locate("track", t)
    relations = [(r, P, T) for r in view.adjs if (r[0], r[2]) == (T, P)]
    targets = {}
    for r in view.adjs:
        pairs = [(p, t)] * ((r[2], r[0]) == (P, T)) + [(t, p)] * ((r[2], r[0]) == (T, P))
        if pairs:
            targets[r] = tuple(torch.cat(x) for x in zip(*pairs))
    assert relations and len(targets) == (1 if merged else 2)
    seeds = {P: torch.cat([p, t])} if merged else {P: p, T: t}
    nodes, adjs, local = NeighborSampler(view, [FULL, FULL], seeded()).sample(seeds, targets)
    for r, A in adjs[0].items():
        gone = set(zip(*(x.tolist() for x in targets[r]))) if r in targets else set()
        got = edges_of(A, nodes[r[2]], nodes[r[0]])
        rows = set(nodes[r[2]][:A.shape[0]].tolist())
        assert got == {(i, j) for i, j in edges_of(view.adjs[r]) if i in rows} - gone


def test_excluding_keeps_the_rest_of_a_row():
    A = Adj.from_edges([0, 0, 1, 2, 2], [0, 3, 1, 0, 2], (3, 4))
    left = exclude_targets(A, torch.tensor([0, 2]), torch.tensor([0, 3]))
    assert edges_of(left) == {(0, 3), (1, 1), (2, 0), (2, 2)} and left.ptr.tolist() == [0, 1, 2, 4]
