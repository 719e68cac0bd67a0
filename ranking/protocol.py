"""One protocol for every row of every table: rank the whole catalogue, exclude what training knows, average over
the playlists that have held-out tracks. Graph models and baselines differ only in the `score` function they pass."""
from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from ranking import metrics
from ranking.topk import Known, Score, chunk_for, count_ranks, mask_known, topk


TILE = 1024             # tracks scored at a time: 1024 × 64 float32 are a quarter of a core's second-level cache


class Part:
    """One part of a split, ready to be scored: what to find, what is known, how often each track was trained on.

    train, held, given: pairs with `playlist` and `track` arrays (n,); given: what cold playlists show, known too.
    """

    def __init__(self, train, held, given, num_playlists: int, num_tracks: int):
        def tensors(pairs):
            return torch.as_tensor(pairs.playlist).long(), torch.as_tensor(pairs.track).long()
        (train_playlist, train_track), self.held, given = tensors(train), tensors(held), tensors(given)
        self.counts = torch.bincount(train_track, minlength=num_tracks)                        # (T,)
        self.known = Known(torch.cat([train_playlist, given[0]]), torch.cat([train_track, given[1]]),
                           num_playlists)

    def measure(self, score: Score, ks: list[int], against: Tensor | None = None, processes=None, lists: bool = True):
        """`measure` of this part."""
        return measure(score, self.held, self.known, self.counts, ks, against, processes, lists)


def dot_scores(playlists: Tensor, tracks: Tensor) -> Score:
    """score(ids) = playlists[ids] · tracksᵀ;  playlists (P, D), tracks (T, D). Without gradients.

    On the CPU the product is made in tiles whose part of the tracks stays in the core's own cache."""
    tiles = tracks.detach().split(len(tracks) if tracks.is_cuda else TILE)
    columns = [tile.t().contiguous() for tile in tiles]                                        # (D, TILE) each

    def score(ids: Tensor) -> Tensor:
        rows = playlists.detach()[ids.to(playlists.device)]
        scores = rows.new_empty(len(rows), len(tracks))
        for part, tile in zip(scores.split(tiles[0].shape[0], dim=1), columns):
            torch.mm(rows, tile, out=part)
        return scores
    return score


def popularity_scores(track_counts: Tensor) -> Score:
    """The same list for everybody: training counts (T,)."""
    return lambda ids: track_counts.float().repeat(len(ids), 1)


def measure(score: Score, held: tuple[Tensor, Tensor], known: Known, track_counts: Tensor, ks: list[int],
            against: Tensor | None = None, processes=None, lists: bool = True
            ) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Metrics of one scorer on one part of a split.

    held: (playlist (E,), track (E,)) pairs to find; known: pairs excluded from the ranking; track_counts (T,) in
    training; against: (E,) for each held pair a track its playlist does not hold, for the AUC (left out when None);
    processes: who else ranks (training.processes.Processes); each ranks every world-th playlist and all get all
    results, the same to the last bit as one process alone;
    lists: False leaves out novelty and coverage, which ask what else is recommended; the other metrics, to the last bit
    the same, need only the places of the held-out tracks, and counting those is cheaper than sorting out lists.
    Returns means by name, and per-playlist values by name. Raises ValueError if a score is not a number.
    """
    order = torch.argsort(held[0], stable=True)
    playlist, track = held[0][order].long(), held[1][order].long()
    against = None if against is None else against[order]
    keys = (playlist * len(track_counts) + track).sort().values
    playlists, counts = torch.unique_consecutive(playlist, return_counts=True)
    rank, world = (0, 1) if processes is None else (processes.rank, processes.world)
    mine, start = torch.arange(rank, len(playlists), world), counts.cumsum(0) - counts
    depth = min(max(*ks, metrics.CLICK_LIMIT, int(counts.max())), len(track_counts))
    values, positive, negative = [], torch.zeros(len(track)), torch.zeros(len(track))
    listed = {k: torch.zeros(len(track_counts)) for k in ks} if lists else {}
    surprise = metrics.surprise(track_counts) if lists else None
    for chunk in tqdm(mine.split(chunk_for(len(track_counts))), "rank", disable=None, leave=False, delay=2):
        ids, count = playlists[chunk], counts[chunk]
        scores = score(ids)
        if scores.amax().isnan():                           # a maximum passes NaN on, and is cheaper than asking all
            raise ValueError("the model's scores are not numbers: training diverged")
        row = torch.repeat_interleave(torch.arange(len(ids)), count)
        pair = torch.arange(len(row)) + (start[chunk] - count.cumsum(0) + count)[row]
        if against is not None:
            positive[pair] = scores[row.to(scores.device), track[pair].to(scores.device)].float().cpu()
            negative[pair] = scores[row.to(scores.device), against[pair].to(scores.device)].float().cpu()
        scores = mask_known(scores, ids, known)
        if not lists:
            hits = metrics.hits_at(count_ranks(scores, row, track[pair]).cpu(), row, (len(ids), depth))
            values.append(metrics.per_playlist(hits, count, ks))
            continue
        best, ranked = (table.cpu() for table in topk(scores, depth))
        real = best > -torch.inf                            # past a playlist's last unknown track the list is empty
        hits = metrics.hit_list(ranked, ids, keys, len(track_counts))
        values.append(metrics.per_playlist(hits, count, ks))
        for k in ks:
            values[-1][f"novelty@{k}"] = metrics.novelty(ranked, real, surprise, k)
            listed[k][ranked[:, :k][real[:, :k]]] = 1
    values = {name: torch.cat([part[name] for part in values]) for name in values[0]}
    if processes is not None:
        values = {name: processes.gather(value) for name, value in values.items()}
        listed = {k: processes.sum(seen) for k, seen in listed.items()}
        positive, negative = processes.sum(positive), processes.sum(negative)
    means = {name: float(value.mean()) for name, value in values.items()}
    means |= {f"coverage@{k}": float((seen > 0).double().mean()) for k, seen in listed.items()}
    if against is not None:
        means["auc"] = metrics.roc_auc(positive, negative)
    return means, values
