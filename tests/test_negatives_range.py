"""sampling/negatives.py: the keys of a million playlists stay within 64 bits, and weights too large are refused."""
import pytest
import torch

from sampling.negatives import Negatives, popularity_weights

LARGEST = 2 ** 63 - 1


def counts(*of):
    """The track of every entry, for tracks that are held so many times each."""
    return torch.repeat_interleave(torch.arange(len(of)), torch.tensor(of))


def exact(track, num_tracks, power):
    weights = (torch.bincount(track, minlength=num_tracks) + 1.0).double() ** power
    return weights * 1000 / weights.min()


@pytest.mark.parametrize("power", [0.5, 0.75, 1, 2])
@pytest.mark.parametrize("num_playlists", [1, 300, 50_000])
def test_weights_of_small_data_do_not_depend_on_the_number_of_playlists(power, num_playlists):
    track = counts(0, 1, 2, 30, 4, 55, 0, 7)
    found = popularity_weights(track, 8, power, num_playlists)
    assert torch.equal(found, exact(track, 8, power).round().long()) and found.dtype == torch.int64


@pytest.mark.parametrize("num_playlists", [100_000, 1_000_000, 2 ** 40])
def test_weights_of_many_playlists_leave_room_for_their_keys(num_playlists):
    """A hundred tracks as popular as the full MPD's first, some rare ones, two that nobody holds; and power 2."""
    track = counts(*[45_000] * 100, *range(1, 30), 0, 0)
    weights, wanted = popularity_weights(track, 131, 2.0, num_playlists), exact(track, 131, 2.0)
    total = sum(weights.tolist())
    assert int(wanted.sum()) * num_playlists > LARGEST                          # as they are they would not fit
    assert num_playlists * (total + 1) <= LARGEST and int(weights.min()) >= 1
    scale = total / float(wanted.sum())
    error = (weights - wanted * scale).abs()
    assert bool((error <= torch.maximum(wanted * scale * 1e-6, torch.ones(()))).all())      # half a unit, or the least


def test_draws_by_weight_follow_them_however_many_playlists_there_are():
    """Fifty of a million playlists: keys that overflow are in no order, and a search among them finds anything."""
    num_playlists, weights = 1_000_000, popularity_weights(counts(450_000, 300_000, 30_000, 0), 4, 2.0, 1_000_000)
    playlist = torch.linspace(0, num_playlists - 1, 50).long()
    negatives = Negatives(playlist, playlist % 3, num_playlists, 4, torch.Generator().manual_seed(0), weights)
    for held, row in zip((playlist % 3).tolist(), negatives.draw(playlist, None, 4000)):
        count, share = torch.bincount(row, minlength=4).double(), weights.double()
        share[held] = 0
        assert len(count) == 4 and count[held] == 0
        assert torch.allclose(count / count.sum(), share / share.sum(), atol=0.03)


def test_weights_whose_keys_would_overflow_are_refused():
    known, generator = (torch.tensor([0]), torch.tensor([0])), torch.Generator()
    fits = LARGEST // 4 - 1                                                     # 4 · (Σ w + 1) = 2⁶³ − 4
    Negatives(*known, 4, 2, generator, torch.tensor([fits - 1, 1]))
    for weights in ([fits, 1], [fits, fits], [LARGEST, LARGEST], [LARGEST, 1]):
        with pytest.raises(ValueError, match="4 playlists .* 2⁶³"):
            Negatives(*known, 4, 2, generator, torch.tensor(weights))


def test_playlists_and_tracks_whose_pairs_have_no_number_are_refused():
    with pytest.raises(ValueError, match="2⁶³"):
        Negatives(torch.tensor([0]), torch.tensor([0]), 2 ** 50, 2 ** 14, torch.Generator())


def test_enormous_counts_stay_within_range():
    weights = popularity_weights(counts(100_000, 0), 2, 4.0, 1000)              # 10²³ as they are
    assert weights.tolist()[1] == 1 and 1000 * (sum(weights.tolist()) + 1) <= LARGEST
