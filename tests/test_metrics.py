"""ranking/metrics.py: every metric against a hand-computed number and a brute-force copy."""
import math

import numpy as np
import pytest
import torch

from ranking import metrics
from ranking.protocol import Part

from scored import P, T, Pairs, brute_ranking


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


def test_pair_auc_equals_all_pairs():
    torch.manual_seed(0)
    vectors, group = torch.randn(30, 5), torch.tensor([-1] * 4 + [0] * 9 + [1] * 7 + [2] * 9 + [3])
    vectors[4:13] += torch.tensor([2.0, 0, 0, 0, 0])                # one group lies together
    unit = torch.nn.functional.normalize(vectors, dim=1)
    cosine, other = unit @ unit.t(), ~torch.eye(30, dtype=torch.bool)
    same = (group.unsqueeze(1) == group) & other & (group >= 0)
    weight = torch.where(same, 1 / same.sum(1, keepdim=True).clamp(min=1), 0.0)     # a node, then one of its group
    expected = sum(float(w) * ((cosine[other] < c).double().mean() + (cosine[other] == c).double().mean() / 2)
                   for w, c in zip(weight[same], cosine[same])) / (same.any(1).sum())
    assert metrics.pair_auc(vectors, group, pairs=200_000) == pytest.approx(float(expected), abs=0.005)


def test_pair_auc_of_nothing():
    assert metrics.pair_auc(torch.randn(4, 2), torch.tensor([0, 1, 2, -1])) is None
    assert metrics.pair_auc(torch.randn(4, 2), torch.full((4,), -1)) is None
