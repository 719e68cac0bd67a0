"""Negatives are never known, equally likely, and belong to their own row; an epoch visits every link once."""
import pytest
import torch

from gnn import view_of
from gnn.inputs import RowAdam
from mpd.build import build_graph
from mpd.split import make_split
from sampling.links import FullGraphLinks
from sampling.negatives import BestOf, Mixed, Negatives, SemiHard, TopWindow, is_known, pair_keys, popularity_weights


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
    links = FullGraphLinks(view, playlist, track, playlists.num_tracks, 2, 1000, negatives, 0 if whole else 2, seeded())
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
