"""Negatives are never known, equally likely, and belong to their own row; an epoch visits every link once."""
import pytest
import torch

from gnn import view_of
from training.optimiser import RowAdam, distinct_rows
from mpd.build import CONTAINS, IN, build_graph
from mpd.split import make_split
from sampling.links import Links, SampledGraph, WholeGraph
from sampling.negatives import (BestOf, Mixed, Negatives, SemiHard, TopWindow, is_known, pair_keys,
                                popularity_weights)
from sampling.neighbors import NeighborSampler
from sampling.subgraph import drop_edges


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def known():
    return torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([0, 3, 5, 2, 0, 1])


def test_negatives_are_never_known_and_equally_likely(known):
    negatives = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    for playlist, unknown in ((0, [1, 2, 4]), (1, [0, 1, 3, 4, 5]), (2, [2, 3, 4, 5]), (3, [0, 1, 2, 3, 4, 5])):
        drawn = negatives.draw(torch.tensor([playlist]), None, 6000).flatten()
        count = torch.bincount(drawn, minlength=6)
        assert count.nonzero().flatten().tolist() == unknown
        expected = 6000 / len(unknown)
        chi2 = float(((count[unknown] - expected) ** 2 / expected).sum())
        assert chi2 < 25                                     # 99.98 % point of chi-square with 5 degrees of freedom


def test_rows_of_negatives_belong_to_their_playlist(planted):
    playlists, _ = planted
    playlist, track = torch.from_numpy(playlists.playlist).long(), torch.from_numpy(playlists.track).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    drawn = negatives.draw(playlist, track, 3)
    pairs = set(zip(playlist.tolist(), track.tolist()))
    assert drawn.shape == (len(playlist), 3) and 0 <= int(drawn.min()) and int(drawn.max()) < playlists.num_tracks
    assert not any((p, t) in pairs for p, row in zip(playlist.tolist(), drawn.tolist()) for t in row)


def test_a_playlist_that_holds_everything_has_no_negatives():
    with pytest.raises(ValueError, match="playlist 0 holds all 2 tracks"):
        Negatives(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 2, seeded())


def test_hard_negatives_are_the_best_scored_candidates(known):
    random = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    hard = BestOf(random, candidates=64)
    assert hard.draw(torch.tensor([0, 1]), None, 2).shape == (2, 2)            # no embeddings yet: uniform draws
    hard.refresh(torch.tensor([[1.0], [-1.0], [1.0], [1.0]]), torch.arange(6.0).unsqueeze(1))
    assert hard.draw(torch.tensor([0, 1, 3]), None, 4).tolist() == [[4] * 4, [0] * 4, [5] * 4]     # 5 is known to playlist 0


@pytest.mark.parametrize("model", ["lightgcn", "rgcn"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_epoch_visits_every_link_once(planted, model, whole):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of(model, build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist).long(), torch.from_numpy(train.track).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    links = Links((playlist, track), WholeGraph(view, playlists.num_tracks, 2), 1000, negatives, 0 if whole else 2, seeded())
    batches = list(links)
    assert len(batches) == len(links)
    start = playlists.num_playlists if model == "lightgcn" else 0
    seen = torch.cat([b.playlist * 10_000 + b.positive - start for b in batches])
    assert torch.equal(seen.sort().values, (playlist * 10_000 + track).sort().values)
    if not whole:
        assert all(b.negative.shape == (len(b.playlist), 2) and int(b.negative.min()) >= start for b in batches)
    else:
        assert all(b.negative is None and len(b.catalogue) == playlists.num_tracks for b in batches)
        assert sum(len(b.playlist.unique()) for b in batches) <= len(playlist.unique()) + len(batches)


def test_row_adam_is_adam_on_the_rows_it_touches():
    torch.manual_seed(0)
    start, grads = torch.randn(6, 3), torch.randn(4, 2, 3)
    dense, table = torch.nn.Parameter(start[:2].clone()), torch.nn.Parameter(start.clone())
    adam, rows = torch.optim.Adam([dense], lr=0.1), RowAdam([table], lr=0.1)
    for grad in grads:
        dense.grad = grad.clone()
        table.grad = torch.sparse_coo_tensor(torch.tensor([[0, 1]]), grad.clone(), (6, 3), check_invariants=True)
        adam.step(), rows.step()
    assert torch.allclose(table[:2], dense, atol=1e-6) and torch.equal(table[2:], start[2:])


# ---- other draws -----------------------------------------------------------------------------------------------------

def test_weighted_negatives_follow_their_weights_exactly(known):
    weights = torch.tensor([1, 5, 2, 9, 4, 7])
    negatives = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded(), weights=weights)
    for playlist, unknown in ((0, [1, 2, 4]), (1, [0, 1, 3, 4, 5]), (3, [0, 1, 2, 3, 4, 5])):
        count = torch.bincount(negatives.draw(torch.tensor([playlist]), None, 8000).flatten(), minlength=6)
        assert count.nonzero().flatten().tolist() == unknown
        expected = 8000 * weights[unknown] / weights[unknown].sum()
        assert float(((count[unknown] - expected) ** 2 / expected).sum()) < 25


def test_popularity_weights():
    weights = popularity_weights(torch.tensor([0, 0, 0, 1]), 3, 0.5)
    assert weights.tolist() == [2000, 1414, 1000]                    # √4 : √2 : √1, in thousandths


def test_best_of_among_and_guard(known):
    random = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    z = torch.tensor([[1.0]] * 4), torch.arange(6.0).unsqueeze(1)
    hard = BestOf(random, candidates=512, among=1, guard=200)        # 512 draws of six tracks: the best 200 hold track 5
    hard.refresh(*z)
    assert set(hard.draw(torch.tensor([3] * 50), None, 1).flatten().tolist()) <= {3, 4}
    among = BestOf(random, candidates=600, among=300)
    among.refresh(*z)
    assert set(among.draw(torch.tensor([3] * 200), None, 1).flatten().tolist()) >= {3, 4, 5}


def test_top_window_draws_from_its_ranks_only(known):
    random = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    ranking = torch.tensor([[4, 2, 1], [5, 4, 3], [5, 4, 3], [5, 4, 3]])
    window = TopWindow(random, lambda p, t, depth: ranking[:, :depth], depth=3, guard=1)
    assert window.draw(torch.tensor([0]), None, 5).shape == (1, 5)   # warm-up: random
    window.refresh(None, None)
    assert set(window.draw(torch.tensor([0, 3]), None, 50)[0].tolist()) == {2, 1}


def test_semi_hard_negatives_share_the_positives_artist(known):
    random = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    artist, keys = torch.tensor([0, 0, 1, 1, 0, -1]), pair_keys(*known, 6)
    semi = SemiHard(random, artist, keys)
    drawn = semi.draw(torch.tensor([0, 0, 3]), torch.tensor([0, 3, 5]), 200)
    assert not is_known(keys, torch.tensor([0, 0, 3]), drawn, 6).any()
    share = (artist[drawn[0]] == 0).double().mean()
    assert share > 0.7 and {1, 4} <= set(drawn[0].tolist())          # a third of 0's group is known: fallback there
    assert len(set(drawn[2].tolist())) > 3                           # no artist: the fallback's uniform draws


def test_mixed_draws_keep_their_share(known):
    class Always:
        def __init__(self, track):
            self.track = track

        def draw(self, playlist, positive, count):
            return torch.full((len(playlist), count), self.track)
    drawn = Mixed([(Always(1), 0.65), (Always(2), 0.25), (Always(3), 0.1)], seeded()).draw(torch.zeros(100).long(), None, 40)
    assert all(abs(float((drawn == i).double().mean()) - share) < 0.03 for i, share in ((1, 0.65), (2, 0.25), (3, 0.1)))


@pytest.mark.parametrize("model", ["lightgcn", "hgt"])
def test_sampled_links_carry_their_blocks_and_no_target(planted, model):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of(model, build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist).long(), torch.from_numpy(train.track).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    sampler, generator = NeighborSampler(view, [4, 3], seeded()), seeded()
    links = Links((playlist, track), SampledGraph(view, playlists.num_tracks, sampler, generator), 500, negatives, 2, generator)
    links.watch(playlist[:0], track[:0])
    seen = []
    for batch in links:
        P, T = view.type_of("playlist"), view.type_of("track")
        p, t = batch.nodes[P][batch.playlist], batch.nodes[T][batch.positive]
        n = batch.nodes[T][batch.negative]
        start_p, start_t = (0, playlists.num_playlists) if model == "lightgcn" else (0, 0)
        seen.append((p - start_p) * 10_000 + t - start_t)
        assert not is_known(pair_keys(playlist, track, 10_000), p - start_p, n - start_t, 10_000).any()
        targets = set(zip(p.tolist(), t.tolist())) | ({(b, a) for a, b in zip(p.tolist(), t.tolist())})
        for (src, _, dst), A in batch.adjs[0].items():
            if {src, dst} <= {P, T}:
                edges = set(zip(batch.nodes[dst][A.row.long()].tolist(), batch.nodes[src][A.col.long()].tolist()))
                assert not edges & (targets if P == T else {(a, b) if (dst, src) == (P, T) else (b, a)
                                                            for a, b in zip(p.tolist(), t.tolist())})
    assert torch.equal(torch.cat(seen).sort().values, (playlist * 10_000 + track).sort().values)
    assert links.false_negatives == 0.0


def test_processes_share_every_batch_without_overlap(planted):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of("lightgcn", build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist).long(), torch.from_numpy(train.track).long()

    def batches(*share):
        generator = seeded()
        negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, generator)
        return list(Links((playlist, track), WholeGraph(view, playlists.num_tracks, 2), 700, negatives, 1, generator, *share))
    for whole, one, two in zip(batches(), batches((0, 2)), batches((1, 2))):
        assert torch.equal(whole.positive[0::2], one.positive) and torch.equal(whole.positive[1::2], two.positive)
        assert torch.equal(whole.negative[1::2], two.negative)
        assert one.share + two.share == pytest.approx(2)


def test_dropped_edges_leave_in_both_directions(planted):
    playlists, _ = planted
    graph = build_graph(playlists, make_split(playlists).train)
    for view in (graph, graph.merged()):
        left = drop_edges(view, 0.3, seeded())
        for (src, name, dst), A in left.items():
            kept = A.value > 0
            assert abs(float(kept.double().mean()) - 0.7) < 0.05
        if view is graph:
            assert torch.equal(left[IN].value[graph.adjs[IN].perm], left[CONTAINS].value)
        else:
            (A,) = left.values()
            assert torch.equal(A.value[A.perm], A.value)


def test_a_process_without_a_pair_takes_part_without_a_say(planted):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of("lightgcn", build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist[:7]).long(), torch.from_numpy(train.track[:7]).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    batches = list(Links((playlist, track), WholeGraph(view, playlists.num_tracks, 2), 6, negatives, 1, seeded(), (1, 2)))
    assert [b.share for b in batches] == [1.0, 0.0] and len(batches[1].positive) == 1


def test_repeated_rows_of_a_gradient_are_summed():
    grad = torch.sparse_coo_tensor(torch.tensor([[4, 1, 4]]), torch.tensor([[1.0], [2.0], [5.0]]), (6, 1),
                                   check_invariants=True)
    rows, values = distinct_rows(grad, torch.zeros(6, dtype=torch.int32))
    assert rows.tolist() == [1, 4] and values.flatten().tolist() == [2, 6]
