"""40 playlists, 130 tracks, scores with ties for every pair, and the ranking that they make, by brute force."""
import numpy as np
import pytest
import torch

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
    return [sorted(set(range(T)) - taken[p], key=lambda t: (-float(scores[p, t]), t)) for p in range(P)]
