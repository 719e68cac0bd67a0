"""ranking/protocol.py: what is measured does not depend on how, and nothing is measured of no scores."""
import pytest
import torch

from ranking.protocol import TILE, Part, dot_scores, measure, popularity_scores
from ranking.topk import Known, topk

from scored import P, T, Pairs


@pytest.mark.parametrize("ks", [[5, 50], [1], [T, 700]])
def test_metrics_without_lists_are_the_same_to_the_last_bit(case, ks):
    scores, known, held = case
    part = Part(known, held, Pairs(held.playlist[:0], held.track[:0]), P, T)
    means, values = part.measure(lambda ids: scores[ids].clone(), ks, held.track.flip(0))
    counted, each = part.measure(lambda ids: scores[ids].clone(), ks, held.track.flip(0), lists=False)
    assert means.keys() - counted.keys() == {f"{name}@{k}" for name in ("novelty", "coverage") for k in ks}
    assert counted == {name: means[name] for name in counted}
    assert all(torch.equal(values[name], value) for name, value in each.items()) and len(each) == 2 + 3 * len(ks)


def test_scores_in_tiles_are_the_dot_products():
    playlists, tracks = torch.randn(50, 8, dtype=torch.double), torch.randn(2 * TILE + 3, 8, dtype=torch.double)
    ids = torch.tensor([7, 3, 7])
    assert torch.allclose(dot_scores(playlists, tracks)(ids), playlists[ids] @ tracks.t())


def test_popularity_recommends_the_most_counted():
    score = popularity_scores(torch.tensor([3, 9, 1]))
    assert topk(score(torch.arange(2)), 2)[1].tolist() == [[1, 0], [1, 0]]


def test_chunks_do_not_matter(case, monkeypatch):
    scores, known, held = case
    part = Part(known, held, Pairs(held.playlist[:0], held.track[:0]), P, T)
    whole = part.measure(dot_scores(scores, torch.eye(T)), [5], held.track)[0]
    monkeypatch.setattr("ranking.topk.CHUNK", 7)
    assert part.measure(dot_scores(scores, torch.eye(T)), [5], held.track)[0] == whole


def test_measure_needs_no_playlist_without_targets(case):
    scores, known, held = case
    known_csr = Known(known.playlist, known.track, P)
    counts = torch.bincount(known.track, minlength=T)
    _, values = measure(lambda ids: scores[ids].clone(), (held.playlist, held.track), known_csr, counts, [5])
    assert len(values["recall@5"]) == held.playlist.unique().numel()


def test_scores_that_are_not_numbers_are_refused(case):
    _, known, held = case
    part = Part(known, held, held, P, T)
    with pytest.raises(ValueError, match="diverged"):
        part.measure(lambda ids: torch.full((len(ids), T), torch.nan), [5])
