"""Embeddings in two dimensions: PCA, t-SNE, the groups that give colours, and the map that shows them."""
from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from common.errors import InputError
from mpd.playlists import Playlists
from mpd.synthetic import genres_of
from pictures import style
from pictures.texts import Caption, short

MOST_POINTS = 3000                                  # of a t-SNE: its tables have the square of this many numbers
MARKERS = "o^s"                                     # with 7 colours, 21 groups can be told apart
SHOWN = 16                                          # groups that get a colour; the others are grey


def pca(x: Tensor, dims: int = 2) -> Tensor:
    """(N, D) → (N, dims): the directions in which x varies most, the strongest first. Signs are such that the largest
    loading of a direction is positive."""
    centred = x.double() - x.double().mean(0)
    axes = torch.linalg.eigh(centred.t() @ centred)[1].flip(1)[:, :dims]                        # (D, dims)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return (centred @ axes).to(x.dtype)


def tsne(x: Tensor, perplexity: float = 30.0, steps: int = 400) -> Tensor:
    """t-SNE. van der Maaten & Hinton 2008, JMLR 9.  (N, D) → (N, 2), exact: O(N²) a step, for some 1,500 points.

        p_j|i = exp(−βᵢ d²ᵢⱼ) / Σₖ exp(−βᵢ d²ᵢₖ),  βᵢ such that 2^entropy = perplexity;   p_ij = (p_j|i + p_i|j) / 2N
        q_ij  = (1 + |yᵢ − yⱼ|²)⁻¹ / Σₖₗ (1 + |yₖ − yₗ|²)⁻¹
        ∂KL/∂yᵢ = 4 Σⱼ (p_ij − q_ij) (yᵢ − yⱼ) (1 + |yᵢ − yⱼ|²)⁻¹                               eq. 5

    Deviations: starts from the PCA, scaled down, so nothing is random; the first quarter exaggerates p 12-fold (the
    paper: 4-fold) and the learning rate is N / 12 (Belkina et al. 2019, arXiv:1808.04891).
    """
    N, diagonal = len(x), torch.eye(len(x), dtype=torch.bool)
    perplexity = min(perplexity, (N - 1) / 3)
    P = _neighbourhoods(torch.cdist(x, x).square(), perplexity)                                 # p_j|i   (N, N)
    P = ((P + P.t()) / (2 * N)).clamp(min=1e-12)
    y = pca(x)
    y = y / y[:, 0].std().clamp(min=1e-12) * 1e-4
    speed, gain = torch.zeros_like(y), torch.ones_like(y)
    for step in range(steps):
        early = step < steps // 4
        near = (1 / (1 + torch.cdist(y, y).square())).masked_fill_(diagonal, 0)                 # (1 + |yᵢ − yⱼ|²)⁻¹
        pull = (P * (12 if early else 1) - near / near.sum()) * near
        gradient = 4 * (pull.sum(1, keepdim=True) * y - pull @ y)
        gain = torch.where(gradient.sign() == speed.sign(), gain * 0.8, gain + 0.2).clamp(min=0.01)
        speed = (0.5 if early else 0.8) * speed - max(N / 12, 50) * gain * gradient
        y = y + speed
    return y - y.mean(0)


def _neighbourhoods(squared: Tensor, perplexity: float, halvings: int = 40) -> Tensor:
    """p_j|i (N, N) from squared distances, every βᵢ found by bisection of its logarithm."""
    itself = torch.eye(len(squared), dtype=torch.bool)
    squared = squared / squared.mean()
    low, high = torch.full((len(squared), 1), -20.0), torch.full((len(squared), 1), 20.0)
    for _ in range(halvings):
        middle = (low + high) / 2
        P = (-squared * middle.exp()).masked_fill_(itself, -torch.inf).softmax(1)
        entropy = -(P * P.clamp(min=1e-12).log()).sum(1, keepdim=True)
        wide = entropy > np.log(perplexity)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return P


METHODS = {"tsne": ("t-SNE", tsne), "pca": ("PCA", pca)}                    # in words, and (N, D) → (N, 2)


def grouped(catalogue: Playlists, by: str | None = None) -> tuple[str, np.ndarray, Sequence[str]]:
    """Tracks by "genre", which only planted ones have, "artist" or "album" → (by what, group of every track (T,), −1 =
    none, names of the groups). By default the first of these that some track has, or "nothing", which puts all in none.
    Raises InputError if no track has what is asked for."""
    planted = genres_of(catalogue)
    groups = {} if planted is None else {"genre": planted}
    groups |= {"artist": (catalogue.track_artist, catalogue.artist_names),
               "album": (catalogue.track_album, catalogue.album_names)}
    known = {what: grouping for what, grouping in groups.items() if grouping[0].max() >= 0}
    if by and by not in known:
        raise InputError(f"--colour-by {by}: these tracks have none; leave it out, or choose another")
    by = by or next(iter(known), "nothing")
    return by, *known.get(by, (np.full(catalogue.num_tracks, -1), []))


def sample(group: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which nodes a map shows. group (N,) ids, −1 = none → (the groups that get a colour, the largest first; ids of at
    most `count` nodes). A quarter of the nodes is left to all the others, where there are such."""
    sizes = np.bincount(group[group >= 0])
    largest = np.argsort(-sizes, kind="stable")[:SHOWN]
    largest = largest[sizes[largest] > 1]
    drawn = np.random.default_rng(seed).permutation(len(group))
    coloured = np.isin(group[drawn], largest)
    others = min(int((~coloured).sum()), max(count // 4, count - int(coloured.sum())))
    return largest, np.sort(np.concatenate([drawn[coloured][:count - others], drawn[~coloured][:others]]))


def draw_map(at: np.ndarray, group: np.ndarray, largest: np.ndarray, names: Sequence[str], caption: Caption) -> Figure:
    """Points (n, 2), coloured by group (n,); a coloured group's name (names[group]) is written where it is densest.
    largest: the groups that get a colour."""
    figure = style.page(caption, height=8.0)
    axes, key = style.canvas(figure, width=0.8), style.canvas(figure, left=0.81, width=0.19)
    low, high = at.min(0), at.max(0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.margins(0.04)
    axes.autoscale()
    rest = ~np.isin(group, largest)
    axes.scatter(*at[rest].T, s=7, color=style.PALE, linewidths=0, zorder=1)
    handles, labels = [], []
    for i, g in enumerate(largest):
        look = style.PALETTE[i % len(style.PALETTE)], MARKERS[i // len(style.PALETTE) % len(MARKERS)]
        points = at[group == g]
        axes.scatter(*points.T, s=20, color=look[0], marker=look[1], linewidths=0.3, edgecolors="white", alpha=0.85,
                     zorder=2)
        handles.append(style.dot(*look, f"{short(names[g], 18)} ({len(points):,})", size=7))
        if len(points):
            apart = np.linalg.norm(points[:, None] - points[None], axis=2)
            densest = tuple(points[np.median(apart, axis=1).argmin()])
            labels.append(style.Label(names[g], densest, 0.0, bold=True))
    if rest.any():
        handles.append(style.dot(style.PALE, "o", f"others ({int(rest.sum()):,})", size=6))
    key.legend(handles=handles, loc="upper left", frameon=False, fontsize=style.SMALL, labelcolor=style.INK,
               borderaxespad=0, handletextpad=0.2, labelspacing=0.55)
    style.place_labels(axes, labels, path_effects=style.HALO, zorder=5)
    return figure
