"""gnn/readout.py: the map from tracks to playlists, and playlists folded in, by their equations."""
import torch

from gnn.readout import ReadOut, score_tables
from gnn.sparse import Adj


def test_the_map_finds_the_way_from_tracks_to_playlists():
    """Playlists that are a rotation of the mean of their tracks: M must be that rotation, up to its pull to 1."""
    torch.manual_seed(0)
    tracks, turn = torch.randn(40, 4), torch.linalg.qr(torch.randn(4, 4)).Q
    rows, cols = torch.arange(300).repeat_interleave(3), torch.stack([torch.randperm(40)[:3] for _ in range(300)])
    shown, mean = Adj.from_edges(rows, cols.flatten(), (300, 40), torch.ones(900)), tracks[cols].mean(1)
    readout = ReadOut({"playlist": mean @ turn, "track": tracks}, shown)
    C, lam = mean.double(), float((mean.double() ** 2).sum() / 4)
    expected = torch.linalg.inv(C.T @ C + lam * torch.eye(4)) @ (C.T @ C @ turn.double() + lam * torch.eye(4))
    assert torch.allclose(readout.map.double(), expected, atol=1e-4)


def test_cold_playlists_are_folded_in_and_the_others_left():
    torch.manual_seed(0)
    z = {"playlist": torch.randn(3, 4), "track": torch.randn(6, 4)}
    shown = Adj.from_edges([0, 0, 1], [1, 2, 3], (3, 6), torch.tensor([0.5, 1.0, 1.0]))
    given = Adj.from_edges([2, 2], [4, 5], (3, 6), torch.tensor([0.5, 1.0]))
    readout = ReadOut(z, shown, "cosine", recency=2.0, track_weight=0.7)
    playlists, tracks = score_tables(readout, given)
    w = torch.tensor([2.0 ** -2, 1]) / (2.0 ** -2 + 1)             # the track before the last, the last
    own = torch.nn.functional.normalize(z["playlist"], dim=1)
    assert torch.allclose(playlists[0], own[0] + 0.7 * (w @ tracks[[1, 2]]) @ readout.map, atol=1e-6)
    assert torch.allclose(playlists[2], ((0.5 + 0.7 * w) @ tracks[[4, 5]]) @ readout.map, atol=1e-6)
