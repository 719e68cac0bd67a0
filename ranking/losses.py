"""Losses on scores. B pairs a batch, M negatives a pair; each returns a scalar mean."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy with logits: −log σ(s⁺) − mean_m log σ(−s⁻_m), halved; both classes weigh the same.

    positive (B,), negative (B, M).
    """
    return (F.softplus(-positive).mean() + F.softplus(negative).mean()) / 2


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: −log σ(s⁺ − s⁻), mean over all B·M comparisons.

    positive (B,), negative (B, M). Rendle et al. 2009, arXiv:1205.2618, BPR-OPT.
    """
    return F.softplus(negative - positive.unsqueeze(1)).mean()


def softmax(positive: Tensor, logits: Tensor, rows: Tensor, weight: float = 1.0) -> Tensor:
    """Softmax over the catalogue: mean over pairs of −log( exp s⁺ / Σ_t exp s_t ).

    positive (B,) scores of the pairs; logits (U, S) scores of the batch's U playlists against the candidate tracks;
    rows (B,) the playlist, 0 … U − 1, of each pair. With every track a candidate this is the multinomial likelihood
    of Liang et al. 2018 (arXiv:1802.05814, eq. 2). Where the candidates are a uniform sample, `weight` = T / S is how
    many tracks each stands for, and the pair's own score is added to the sum, which then errs above, not below.
    """
    total = torch.logsumexp(logits, dim=1)[rows]
    if weight != 1.0:
        total = torch.logaddexp(total + math.log(weight), positive)
    return (total - positive).mean()


def l2(*layer0: Tensor) -> Tensor:
    """½ Σ ‖e‖² / B over the layer-0 rows (B, D) of a batch's playlists, positives and negatives.

    The regulariser of BPR-MF and LightGCN: only the rows in the batch are pulled, and repeated rows count again.
    """
    return sum(rows.square().sum() for rows in layer0) / (2 * len(layer0[0]))
