"""Every metric, loss and list against a hand-computed number and a brute-force copy."""
import math

import numpy as np
import pytest
import torch

from ranking import losses, metrics
from ranking.protocol import TILE, Part, dot_scores, measure, popularity_scores
from ranking.topk import Known, _count_ranks_at_once, count_ranks, mask_known, rank, topk

P, T = 40, 130


class Pairs:
    def __init__(self, playlist, track):
        self.playlist, self.track = torch.as_tensor(playlist), torch.as_tensor(track)


@pytest.fixture
def case():
    """Random scores with many ties, known and held-out pairs; playlists 0 and 1 have nothing held out."""
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.integers(0, 30, (P, T)).astype(np.float32))
    cells = rng.permutation(P * T)
    known = np.stack(np.divmod(cells[:600], T))
    held = np.stack(np.divmod(cells[600:900], T))
    held = held[:, held[0] > 1]
    return scores, Pairs(*known), Pairs(*held)


def brute_ranking(scores, known):
    """All unknown tracks of every playlist, best first, ties by id."""
    taken = [set() for _ in range(P)]
    for p, t in zip(known.playlist.tolist(), known.track.tolist()):
        taken[p].add(t)
    return [sorted((t for t in range(T) if t not in taken[p]), key=lambda t: (-float(scores[p, t]), t)) for p in range(P)]


@pytest.mark.parametrize("k", [1, 7, 60, T])
def test_topk_is_exact_with_ties_by_id(case, k):
    scores, known, _ = case
    values, tracks = rank(lambda ids: scores[ids].clone(), torch.arange(P), Known(known.playlist, known.track, P), k)
    for p, expected in enumerate(brute_ranking(scores, known)):
        n = min(k, len(expected))
        assert tracks[p, :n].tolist() == expected[:n]
        assert values[p, :n].tolist() == scores[p, expected[:n]].tolist() and torch.isinf(values[p, n:]).all()


@pytest.mark.parametrize("distinct", [1, 3, 1000])
def test_counted_ranks_are_the_places_in_the_list(distinct):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(distinct, (20, T), generator=generator).float()
    scores[:, ::7] = -torch.inf                                     # masked tracks come last, in order too
    row, track = torch.arange(20 * T) // T, torch.arange(20 * T) % T
    place = topk(scores, T)[1].argsort(1).flatten()
    assert torch.equal(count_ranks(scores, row, track), place)
    assert torch.equal(_count_ranks_at_once(scores, row, track), place)


@pytest.mark.parametrize("ks", [[5, 50], [1], [T, 700]])
def test_metrics_without_lists_are_the_same_to_the_last_bit(case, ks):
    scores, known, held = case
    part = Part(known, held, Pairs(held.playlist[:0], held.track[:0]), P, T)
    means, values = part.measure(lambda ids: scores[ids].clone(), ks, held.track.flip(0))
    counted, each = part.measure(lambda ids: scores[ids].clone(), ks, held.track.flip(0), lists=False)
    assert means.keys() - counted.keys() == {f"{name}@{k}" for name in ("novelty", "coverage") for k in ks}
    assert counted == {name: means[name] for name in counted}
    assert all(torch.equal(values[name], value) for name, value in each.items()) and len(each) == 2 + 3 * len(ks)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distinct", [4, 50, 10 ** 6])
def test_topk_of_a_large_catalogue_equals_a_full_sort(distinct, dtype):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(-distinct, distinct, (30, 4099), generator=generator).to(dtype) / 3
    scores[:, ::5] *= -0.0                                          # zeros of both signs are ties
    scores[:20, ::2], scores[:10, 1::9] = -torch.inf, torch.inf
    value, order = scores.sort(dim=1, descending=True, stable=True)
    found = topk(scores, 60)
    assert torch.equal(found[0], value[:, :60]) and torch.equal(found[1], order[:, :60])


def test_scores_in_tiles_are_the_dot_products():
    playlists, tracks = torch.randn(50, 8, dtype=torch.double), torch.randn(2 * TILE + 3, 8, dtype=torch.double)
    ids = torch.tensor([7, 3, 7])
    assert torch.allclose(dot_scores(playlists, tracks)(ids), playlists[ids] @ tracks.t())


def test_topk_of_one_value_everywhere():
    assert topk(torch.zeros(3, 1000), 20)[1].tolist() == [list(range(20))] * 3


def test_masked_tracks_are_minus_infinity(case):
    scores, known, _ = case
    ids = torch.tensor([5, 3])
    masked = mask_known(scores[ids].clone(), ids, Known(known.playlist, known.track, P))
    for row, p in enumerate(ids):
        mine = known.track[known.playlist == p]
        assert torch.isinf(masked[row, mine]).all() and torch.isinf(masked[row]).sum() == len(mine)


def test_every_metric_equals_brute_force(case):
    scores, known, held = case
    part = Part(known, held, Pairs(torch.zeros(0).long(), torch.zeros(0).long()), P, T)
    against = (held.track + 1) % T
    means, values = part.measure(lambda ids: scores[ids].clone(), [5, 50], against)
    ranking, wanted = brute_ranking(scores, known), [set() for _ in range(P)]
    for p, t in zip(held.playlist.tolist(), held.track.tolist()):
        wanted[p].add(t)
    have = [p for p in range(P) if wanted[p]]
    assert 0 not in have and len(values["recall@5"]) == len(have)
    total = {}
    for p in have:
        G, R = wanted[p], ranking[p]
        one = {"r_precision": len(G & set(R[:len(G)])) / len(G)}
        first = next((i for i, t in enumerate(R[:500]) if t in G), None)
        one["clicks"] = 51 if first is None else first // 10
        for k in (5, 50):
            one[f"recall@{k}"] = len(G & set(R[:k])) / len(G)
            one[f"hit_rate@{k}"] = float(bool(G & set(R[:k])))
            ideal = sum(1 / math.log2(i + 2) for i in range(min(len(G), k)))
            one[f"ndcg@{k}"] = sum(1 / math.log2(i + 2) for i, t in enumerate(R[:k]) if t in G) / ideal
        for name, value in one.items():
            total.setdefault(name, []).append(value)
    for name, value in total.items():
        assert means[name] == pytest.approx(np.mean(value), abs=1e-12), name
        assert np.allclose(values[name], value)
    counts = np.bincount(known.track, minlength=T)
    for k in (5, 50):
        seen = [t for p in have for t in ranking[p][:k]]
        novelty = np.mean([-math.log2((counts[t] + 1) / (counts.sum() + T)) for t in seen])
        assert means[f"novelty@{k}"] == pytest.approx(novelty) and means[f"coverage@{k}"] == len(set(seen)) / T
    pos = [float(scores[p, t]) for p, t in zip(held.playlist, held.track)]
    neg = [float(scores[p, t]) for p, t in zip(held.playlist, against)]
    auc = np.mean([(a > b) + 0.5 * (a == b) for a in pos for b in neg])
    assert means["auc"] == pytest.approx(auc)


def test_metrics_by_hand():
    hits = torch.tensor([[True, False, True, False], [False, False, False, False]])
    counts = torch.tensor([2, 1])
    assert metrics.recall(hits, counts, 2).tolist() == [0.5, 0.0]
    assert metrics.r_precision(hits, counts).tolist() == [0.5, 0.0]
    assert metrics.ndcg(hits, counts, 4)[0] == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3)))
    assert metrics.clicks(hits).tolist() == [0, 51]
    assert metrics.roc_auc(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0])) == (3 + 0.5) / 4


def test_known_positives_never_enter_and_only_tracks_are_ranked(case):
    scores, known, held = case
    _, tracks = rank(lambda ids: scores[ids].clone(), torch.arange(P), Known(known.playlist, known.track, P), 50)
    pairs = set(zip(known.playlist.tolist(), known.track.tolist()))
    assert not any((p, t) in pairs for p in range(P) for t in tracks[p].tolist())
    assert int(tracks.max()) < T


def test_scores_that_are_not_numbers_are_refused(case):
    _, known, held = case
    part = Part(known, held, held, P, T)
    with pytest.raises(ValueError, match="diverged"):
        part.measure(lambda ids: torch.full((len(ids), T), torch.nan), [5])


def test_chunks_do_not_matter(case, monkeypatch):
    scores, known, held = case
    part = Part(known, held, Pairs(held.playlist[:0], held.track[:0]), P, T)
    whole = part.measure(dot_scores(scores, torch.eye(T)), [5], held.track)[0]
    monkeypatch.setattr("ranking.topk.CHUNK", 7)
    assert part.measure(dot_scores(scores, torch.eye(T)), [5], held.track)[0] == whole


def test_popularity_recommends_the_most_counted():
    score = popularity_scores(torch.tensor([3, 9, 1]))
    assert topk(score(torch.arange(2)), 2)[1].tolist() == [[1, 0], [1, 0]]


def test_losses_by_hand():
    def log_sigmoid(x):
        return math.log(1 / (1 + math.exp(-x)))
    positive, negative = torch.tensor([1.0, -0.5]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    assert losses.bpr(positive, negative) == pytest.approx(
        -np.mean([log_sigmoid(1), log_sigmoid(-1), log_sigmoid(-1.5), log_sigmoid(-1.5)]))
    assert losses.bce(positive, negative) == pytest.approx(
        (-np.mean([log_sigmoid(1), log_sigmoid(-0.5)]) - np.mean([log_sigmoid(-v) for v in (0, 2, 1, 1)])) / 2)
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    expected = math.log(1 + math.e + math.e ** 2) - 2
    assert losses.softmax(torch.tensor([2.0]), logits, torch.tensor([0])) == pytest.approx(expected)
    assert losses.l2(torch.ones(2, 3), torch.ones(2, 3)) == pytest.approx((6 + 6) / (2 * 2))


def test_measure_needs_no_playlist_without_targets(case):
    scores, known, held = case
    known_csr = Known(known.playlist, known.track, P)
    counts = torch.bincount(known.track, minlength=T)
    _, values = measure(lambda ids: scores[ids].clone(), (held.playlist, held.track), known_csr, counts, [5])
    assert len(values["recall@5"]) == held.playlist.unique().numel()


# ---- what embeddings say ---------------------------------------------------------------------------------------------

def test_pair_auc_equals_all_pairs():
    torch.manual_seed(0)
    vectors, group = torch.randn(30, 5), torch.tensor([-1] * 4 + [0] * 9 + [1] * 7 + [2] * 9 + [3])
    vectors[4:13] += torch.tensor([2.0, 0, 0, 0, 0])                # one group lies together
    unit = torch.nn.functional.normalize(vectors, dim=1)
    cosine, other = unit @ unit.t(), ~torch.eye(30, dtype=torch.bool)
    same = (group.unsqueeze(1) == group) & other & (group >= 0)
    weight = torch.where(same, 1 / same.sum(1, keepdim=True).clamp(min=1), 0.0)     # first a node, then one of its group
    expected = sum(float(w) * ((cosine[other] < c).double().mean() + (cosine[other] == c).double().mean() / 2)
                   for w, c in zip(weight[same], cosine[same])) / (same.any(1).sum())
    assert metrics.pair_auc(vectors, group, pairs=200_000) == pytest.approx(float(expected), abs=0.005)


def test_pair_auc_of_nothing():
    assert metrics.pair_auc(torch.randn(4, 2), torch.tensor([0, 1, 2, -1])) is None
    assert metrics.pair_auc(torch.randn(4, 2), torch.full((4,), -1)) is None
