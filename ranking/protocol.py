"""One protocol for every row of every table: rank the whole catalogue, exclude what training knows, average over
the playlists that have held-out tracks. Graph models and baselines differ only in the `score` function they pass."""
from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from ranking import metrics
from ranking.topk import CHUNK, Known, Score, mask_known, topk


class Part:
    """One part of a split, ready to be scored: what to find, what is known, how often each track was trained on.

    train, held, given: pairs with `playlist` and `track` arrays (n,); given: what cold playlists show, known too.
    """

    def __init__(self, train, held, given, num_playlists: int, num_tracks: int):
        def tensors(pairs):
            return torch.as_tensor(pairs.playlist).long(), torch.as_tensor(pairs.track).long()
        (train_playlist, train_track), self.held, self.given = tensors(train), tensors(held), tensors(given)
        self.counts = torch.bincount(train_track, minlength=num_tracks)                        # (T,)
        self.known = Known(torch.cat([train_playlist, self.given[0]]), torch.cat([train_track, self.given[1]]),
                           num_playlists)

    def measure(self, score: Score, ks: list[int], against: Tensor | None = None):
        """`measure` of this part."""
        return measure(score, self.held, self.known, self.counts, ks, against)


def dot_scores(playlists: Tensor, tracks: Tensor) -> Score:
    """score(ids) = playlists[ids] · tracksᵀ;  playlists (P, D), tracks (T, D)."""
    columns = tracks.t().contiguous()
    return lambda ids: playlists[ids.to(playlists.device)] @ columns


def popularity_scores(track_counts: Tensor) -> Score:
    """The same list for everybody: training counts (T,)."""
    return lambda ids: track_counts.float().repeat(len(ids), 1)


def measure(score: Score, held: tuple[Tensor, Tensor], known: Known, track_counts: Tensor, ks: list[int],
            against: Tensor | None = None) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Metrics of one scorer on one part of a split.

    held: (playlist (E,), track (E,)) pairs to find; known: pairs excluded from the ranking; track_counts (T,) in
    training; against: (E,) for each held pair a track its playlist does not hold, for the AUC (left out when None).
    Returns means by name, and per-playlist values by name. Raises ValueError if a score is not a number.
    """
    order = torch.argsort(held[0], stable=True)
    playlist, track = held[0][order].long(), held[1][order].long()
    playlists, counts = torch.unique_consecutive(playlist, return_counts=True)
    depth = max(*ks, metrics.CLICK_LIMIT, int(counts.max()))
    stop = counts.cumsum(0)
    ranked, positive, negative = [], [], []
    for first in tqdm(range(0, len(playlists), CHUNK), "rank", disable=None, leave=False, delay=2):
        ids = playlists[first:first + CHUNK]
        scores = score(ids)
        if scores.isnan().any():
            raise ValueError("the model's scores are not numbers: training diverged")
        if against is not None:
            pairs = slice(int(stop[first] - counts[first]), int(stop[first + len(ids) - 1]))
            row = torch.repeat_interleave(torch.arange(len(ids)), counts[first:first + len(ids)]).to(scores.device)
            positive.append(scores[row, track[pairs].to(scores.device)])
            negative.append(scores[row, against[order][pairs].long().to(scores.device)])
        ranked.append(topk(mask_known(scores, ids, known), depth)[1].cpu())
    means, values = metrics.summary(torch.cat(ranked), playlists, (playlist, track), track_counts, ks)
    if against is not None:
        means["auc"] = metrics.roc_auc(torch.cat(positive).cpu(), torch.cat(negative).cpu())
    return means, values
