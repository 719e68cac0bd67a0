"""recommending/rerank.py: a penalty for popularity, and a cap on tracks of one artist."""
import numpy as np
import torch

import evaluate
from recommending.rerank import penalised, within_cap
from training.trained import Trained


def test_a_penalty_trades_recall_for_novelty(trained):
    rows = evaluate.tradeoff(Trained(trained), "test", [0.0, 0.2, 1.0], [10])
    assert rows[0]["novelty@10"] < rows[1]["novelty@10"] < rows[2]["novelty@10"]
    assert rows[2]["recall@10"] < rows[0]["recall@10"] and rows[1]["coverage@10"] > rows[0]["coverage@10"]


def test_penalised_is_in_standard_deviations():
    torch.manual_seed(0)
    scores, counts = torch.randn(3, 50) * 7 + 2, torch.randint(0, 90, (50,))
    z = (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True)
    l = torch.log1p(counts.float())
    assert torch.allclose(penalised(scores, counts, 0.3), z - 0.3 * (l - l.mean()) / l.std(), atol=1e-5)
    assert penalised(scores, counts, 0.0) is scores


def test_the_cap_holds_and_lists_stay_full(music):
    for cap in (1, 2):
        found = music.from_seeds([0, 1, 2], n=40, artist_cap=cap)
        artists = [int(music.playlists.track_artist[r.track]) for r in found]
        assert len(found) == 40 and max(np.bincount(artists)) <= cap
    free = music.from_seeds([0, 1, 2], n=900)
    kept, count = [], {}
    for r in free:                                                  # the plain way
        count[r.artist] = count.get(r.artist, 0) + 1
        kept += [r.track] if count[r.artist] <= 1 else []
    assert [r.track for r in music.from_seeds([0, 1, 2], n=40, artist_cap=1)] == kept[:40]


def test_within_cap_spares_the_unknown():
    ranked, artist = torch.tensor([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]), torch.tensor([0, 0, -1, 0, -1])
    kept = [[True, False, True, False, True], [True, True, True, False, False]]
    assert within_cap(ranked, artist, 1).tolist() == kept
