"""training/optimiser.py: the norm of a gradient, whichever form the gradient has."""
import pytest
import torch
from torch import nn

import training.optimiser
from gnn import make_model, view_of
from mpd.build import build_graph
from mpd.split import make_split
from training.optimiser import RowAdam, gradient_norm, make_optimiser


class Tables(nn.Module):
    """Two tables and a map, of which every look-up of `inputs` has a gradient by rows where `sparse`."""

    def __init__(self, sparse):
        super().__init__()
        torch.manual_seed(0)
        self.artists, self.tracks = (nn.Embedding(n, 4, sparse=sparse) for n in (6, 9))
        self.map = nn.Linear(4, 1)

    def forward(self, artists, tracks):
        return self.map(self.artists(artists) + self.tracks(tracks)).sigmoid().sum()


ARTISTS, TRACKS = torch.tensor([5, 2, 5, 5]), torch.tensor([8, 1, 0, 3])     # three tracks of one artist


@pytest.fixture
def both():
    """The same network and its optimiser after a backward pass, with dense and with sparse gradients."""
    pairs = []
    for sparse in (False, True):
        net = Tables(sparse)
        optimiser = RowAdam(net.parameters(), lr=0.1)
        net(ARTISTS, TRACKS).backward()
        pairs.append((net, optimiser))
    return pairs


def test_a_repeated_row_counts_once_with_its_sum(both):
    (dense, dense_optimiser), (sparse, optimiser) = both
    assert sparse.artists.weight.grad.is_sparse and not sparse.artists.weight.grad.is_coalesced()
    expected = torch.cat([p.grad.flatten() for p in dense.parameters()]).norm()
    assert float(gradient_norm(dense_optimiser)) == pytest.approx(float(expected), rel=1e-6)
    assert float(gradient_norm(optimiser)) == pytest.approx(float(expected), rel=1e-6)


def test_the_norm_of_a_row_that_comes_four_times():
    """Four equal gradients g of one row: the row's own is 4 g, whose norm is 4 ‖g‖ and not 2 ‖g‖."""
    table = nn.Embedding(3, 3, sparse=True)
    optimiser = RowAdam(table.parameters(), lr=0.1)
    table(torch.tensor([1, 1, 1, 1])).sum().backward()
    assert float(gradient_norm(optimiser)) == pytest.approx(4 * 3 ** 0.5)


def test_rows_are_summed_once_for_norm_and_step(both, monkeypatch):
    _, (net, optimiser) = both
    calls = []

    def counted(grad, stamp):
        calls.append(grad)
        return distinct_rows(grad, stamp)
    distinct_rows = training.optimiser.distinct_rows
    monkeypatch.setattr(training.optimiser, "distinct_rows", counted)
    for step in range(1, 3):
        gradient_norm(optimiser)
        optimiser.step()
        assert len(calls) == 2 * step                                   # two tables, in each of the steps
        optimiser.zero_grad()
        net(ARTISTS, TRACKS).backward()


def test_a_gradient_that_has_grown_is_looked_at_again(both):
    _, (net, optimiser) = both
    first = float(gradient_norm(optimiser))
    net(ARTISTS, TRACKS).backward()                                     # added to the gradient that is there
    assert float(gradient_norm(optimiser)) == pytest.approx(2 * first, rel=1e-6)


def test_the_step_is_the_same_with_and_without_the_norm(both):
    _, (net, optimiser) = both
    other = Tables(True)
    other(ARTISTS, TRACKS).backward()
    RowAdam(other.parameters(), lr=0.1).step()
    gradient_norm(optimiser)
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_plain_adam_has_a_norm_too(planted):
    view = view_of("lightgcn", build_graph(planted[0], make_split(planted[0]).train))
    net = make_model(view, "lightgcn", 4, 1)
    optimiser = make_optimiser(net, sampled=False, lr=0.1)
    net(None, [view.adjs])[1]["node"].sum().backward()
    grads = [p.grad for p in net.parameters()]
    assert torch.equal(gradient_norm(optimiser), nn.utils.get_total_norm(grads))
