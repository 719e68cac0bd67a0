"""ranking/topk.py: lists and ranks equal a full sort, ties by id, and what is known is in none."""
import pytest
import torch

from ranking.topk import Known, _count_ranks_at_once, count_ranks, mask_known, rank, topk

from scored import P, T, brute_ranking


@pytest.mark.parametrize("k", [1, 7, 60, T])
def test_topk_is_exact_with_ties_by_id(case, k):
    scores, known, _ = case
    values, tracks = rank(lambda ids: scores[ids].clone(), torch.arange(P), Known(known.playlist, known.track, P), k)
    for p, expected in enumerate(brute_ranking(scores, known)):
        n = min(k, len(expected))
        assert tracks[p, :n].tolist() == expected[:n]
        assert values[p, :n].tolist() == scores[p, expected[:n]].tolist() and torch.isinf(values[p, n:]).all()


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


def test_topk_of_one_value_everywhere():
    assert topk(torch.zeros(3, 1000), 20)[1].tolist() == [list(range(20))] * 3


@pytest.mark.parametrize("distinct", [1, 3, 1000])
def test_counted_ranks_are_the_places_in_the_list(distinct):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(distinct, (20, T), generator=generator).float()
    scores[:, ::7] = -torch.inf                                     # masked tracks come last, in order too
    row, track = torch.arange(20 * T) // T, torch.arange(20 * T) % T
    place = topk(scores, T)[1].argsort(1).flatten()
    assert torch.equal(count_ranks(scores, row, track), place)
    assert torch.equal(_count_ranks_at_once(scores, row, track), place)


def test_masked_tracks_are_minus_infinity(case):
    scores, known, _ = case
    ids = torch.tensor([5, 3])
    masked = mask_known(scores[ids].clone(), ids, Known(known.playlist, known.track, P))
    for row, p in enumerate(ids):
        mine = known.track[known.playlist == p]
        assert torch.isinf(masked[row, mine]).all() and torch.isinf(masked[row]).sum() == len(mine)


def test_known_positives_never_enter_and_only_tracks_are_ranked(case):
    scores, known, held = case
    _, tracks = rank(lambda ids: scores[ids].clone(), torch.arange(P), Known(known.playlist, known.track, P), 50)
    pairs = set(zip(known.playlist.tolist(), known.track.tolist()))
    assert not any((p, t) in pairs for p in range(P) for t in tracks[p].tolist())
    assert int(tracks.max()) < T
