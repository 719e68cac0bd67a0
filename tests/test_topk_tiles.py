"""ranking/topk.py and protocol.py in bounded memory: how many playlists at a time, and pairs counted tile by tile."""
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ranking.topk
import recommend
from mpd.split import NO_PAIRS, Pairs
from ranking.protocol import Part, dot_scores
from ranking.topk import CHUNK, Known, _count_ranks_at_once, chunk_for, count_ranks, rank
from recommending import Recommender


def test_chunks_shrink_with_the_catalogue():
    assert chunk_for(1) == chunk_for(40_981) == chunk_for(500_000) == CHUNK == 128
    assert 16 <= chunk_for(2_262_292) < 32 and chunk_for(10 ** 9) == 8
    for tracks in (600_000, 1_000_000, 2_262_292, 5_000_000):
        assert chunk_for(tracks) * tracks * 4 < 300e6 and chunk_for(tracks) % 8 == 0        # bytes of a table of scores


@pytest.mark.parametrize("compared", [1, 131, 1000, 10 ** 9])
def test_tiles_of_pairs_count_what_the_loop_counts(compared, monkeypatch):
    monkeypatch.setattr(ranking.topk, "COMPARED", compared)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(9, (20, 130), generator=generator).float()
    scores[:, ::7] = -torch.inf
    row, track = (torch.randint(n, (300,), generator=generator) for n in scores.shape)
    assert torch.equal(_count_ranks_at_once(scores, row, track), count_ranks(scores, row, track))
    assert len(_count_ranks_at_once(scores, row[:0], track[:0])) == 0


def test_pairs_are_never_compared_all_at_once(monkeypatch):
    """A thousand pairs of 4,000 tracks in tiles of a quarter of a million comparisons."""
    monkeypatch.setattr(ranking.topk, "COMPARED", 1 << 18)
    scores, row, sizes = torch.rand(30, 4000), torch.arange(1000) % 30, []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            made = operation(*args, **kwargs or {})
            sizes.extend(tensor.numel() for tensor in (made if isinstance(made, (list, tuple)) else [made]))
            return made
    with Sizes():
        places = _count_ranks_at_once(scores, row, torch.arange(1000))
    assert 1 << 17 < max(sizes) <= 1 << 18 and torch.equal(places, count_ranks(scores, row, torch.arange(1000)))


class Watched:
    """A scorer that remembers how many playlists it was asked for at a time."""

    def __init__(self, playlists, tracks):
        self.score, self.asked = dot_scores(playlists, tracks), []

    def __call__(self, ids):
        self.asked.append(len(ids))
        return self.score(ids)


@pytest.fixture
def few(monkeypatch):
    """A catalogue of 130 tracks counts as one of which only 24 playlists may be ranked at a time."""
    monkeypatch.setattr(ranking.topk, "SCORES", 130 * 25)
    torch.manual_seed(0)
    return torch.randn(100, 16), torch.randn(130, 16)


def test_measuring_and_ranking_take_fewer_playlists_of_a_large_catalogue(few, monkeypatch):
    held = Pairs(*np.stack([np.arange(100), np.arange(100) % 130, np.zeros(100)]).astype(np.int64))
    part, known = Part(NO_PAIRS, held, NO_PAIRS, 100, 130), Known(torch.tensor([3]), torch.tensor([5]), 100)
    watched, everyone = Watched(*few), torch.arange(100)
    measured, ranked = part.measure(watched, [5]), rank(watched, everyone, known, 10)
    assert max(watched.asked) == 24
    monkeypatch.undo()
    whole = Watched(*few)
    assert measured[0] == part.measure(whole, [5])[0]
    assert all(torch.equal(a, b) for a, b in zip(ranked, rank(whole, everyone, known, 10))) and max(whole.asked) == 100


def test_lists_in_bulk_take_fewer_playlists_of_a_large_catalogue(trained, monkeypatch, tmp_path):
    music = Recommender.load(trained)
    vectors, held = music.vectors[:60], music.shown.take(torch.arange(60))
    whole = list(music.in_bulk(vectors, held, 7))
    recommend.write_all(music, tmp_path / "whole.csv", 5, 0.0, None)
    monkeypatch.setattr(ranking.topk, "SCORES", music.playlists.num_tracks * 16)
    parts = list(music.in_bulk(vectors, held, 7))
    assert len(whole) == 1 and [len(tracks) for tracks, _ in parts] == [16, 16, 16, 12]
    assert all(torch.equal(torch.cat(a), b) for a, (b,) in zip(zip(*parts), zip(*whole)))
    recommend.write_all(music, tmp_path / "parts.csv", 5, 0.0, None)
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()
