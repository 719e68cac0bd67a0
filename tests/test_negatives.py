"""sampling/negatives.py: negatives are never known, as likely as they should be, and belong to their own row."""
import pytest
import torch

from sampling.negatives import (BestOf, Mixed, Negatives, SemiHard, TopWindow, is_known, pair_keys,
                                popularity_weights)

from helpers import seeded


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


# ---- miners ----------------------------------------------------------------------------------------------------------

def test_hard_negatives_are_the_best_scored_candidates(known):
    random = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    hard = BestOf(random, candidates=64)
    assert hard.draw(torch.tensor([0, 1]), None, 2).shape == (2, 2)            # no embeddings yet: uniform draws
    hard.refresh(torch.tensor([[1.0], [-1.0], [1.0], [1.0]]), torch.arange(6.0).unsqueeze(1))
    best = [[4] * 4, [0] * 4, [5] * 4]                                         # 5 is known to playlist 0
    assert hard.draw(torch.tensor([0, 1, 3]), None, 4).tolist() == best


def test_best_of_among_and_guard(known):
    random = Negatives(*known, num_playlists=4, num_tracks=6, generator=seeded())
    z = torch.tensor([[1.0]] * 4), torch.arange(6.0).unsqueeze(1)
    hard = BestOf(random, candidates=512, among=1, guard=200)        # the best 200 of 512 draws of six tracks hold 5
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
    shares = {1: 0.65, 2: 0.25, 3: 0.1}
    mixed = Mixed([(Always(i), share) for i, share in shares.items()], seeded())
    drawn = mixed.draw(torch.zeros(100).long(), None, 40)
    assert all(abs(float((drawn == i).double().mean()) - share) < 0.03 for i, share in shares.items())
