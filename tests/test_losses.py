"""ranking/losses.py: every loss against a hand-computed number."""
import math

import numpy as np
import pytest
import torch

from ranking import losses


def test_losses_by_hand():
    def log_sigmoid(x):
        return math.log(1 / (1 + math.exp(-x)))
    positive, negative = torch.tensor([1.0, -0.5]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    assert losses.bpr(positive, negative) == pytest.approx(
        -np.mean([log_sigmoid(1), log_sigmoid(-1), log_sigmoid(-1.5), log_sigmoid(-1.5)]))
    assert losses.bce(positive, negative) == pytest.approx(
        (-np.mean([log_sigmoid(1), log_sigmoid(-0.5)]) - np.mean([log_sigmoid(-v) for v in (0, 2, 1, 1)])) / 2)
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    expected = math.log(1 + math.e + math.e ** 2) - 2
    assert losses.softmax(torch.tensor([2.0]), logits, torch.tensor([0])) == pytest.approx(expected)
    assert losses.l2(torch.ones(2, 3), torch.ones(2, 3)) == pytest.approx((6 + 6) / (2 * 2))
