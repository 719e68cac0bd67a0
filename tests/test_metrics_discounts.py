"""ranking/metrics.py: what depends on K or on the catalogue alone is worked out once, with the same bits."""
import pytest
import torch

import ranking.topk
from mpd.split import NO_PAIRS, Pairs
from ranking import metrics
from ranking.protocol import Part, popularity_scores


def plain_ndcg(hits, counts, k):
    """The formula with nothing kept from one call to the next."""
    k = min(k, hits.shape[1])
    gain = 1 / torch.log2(torch.arange(k, dtype=torch.float64) + 2)
    ideal = torch.cat([torch.zeros(1, dtype=torch.float64), gain.cumsum(0)])
    return (hits[:, :k] * gain).sum(1) / ideal[counts.clamp(max=k)]


@pytest.mark.parametrize("k", [1, 10, 300, 700])
def test_ndcg_has_the_bits_of_the_formula(k):
    generator = torch.Generator().manual_seed(k)
    for playlists in (5, 128):
        hits = torch.rand(playlists, 500, generator=generator) < 0.02
        counts = hits.sum(1) + 1
        assert torch.equal(metrics.ndcg(hits, counts, k), plain_ndcg(hits, counts, k))


def test_no_logarithm_is_taken_twice(monkeypatch):
    """Chunk after chunk and K after K: each discount once, and the surprise of the whole catalogue once."""
    playlists, tracks, lengths, log2 = 64, 200, [], torch.log2
    monkeypatch.setattr(ranking.topk, "SCORES", 8 * tracks)
    monkeypatch.setattr(torch, "log2", lambda x: lengths.append(x.numel()) or log2(x))
    metrics.discounts.cache_clear()
    pairs = Pairs(torch.arange(playlists), torch.arange(playlists), torch.zeros(playlists))
    part = Part(pairs, Pairs(pairs.playlist, pairs.track + 1, pairs.position), NO_PAIRS, playlists, tracks)
    part.measure(popularity_scores(part.counts), [7, 90])
    assert sorted(lengths) == [7, 90, tracks]
