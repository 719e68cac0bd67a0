"""gnn/adjacency.py: an adjacency that is already where it is wanted stays itself, with all that it has kept."""
import pytest
import torch

from gnn.adjacency import Adj, normalize_row, same_device
from gnn.graph import HeteroGraph


@pytest.fixture
def second_of_two(monkeypatch):
    """A machine with CUDA devices, of which the one with index 1 is current."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


@pytest.mark.parametrize("a, b, same", [
    ("cpu", "cpu", True), ("cpu", "cpu:0", True), ("cuda", "cuda", True), ("cuda", "cuda:1", True),
    ("cuda:1", torch.device("cuda"), True), ("cuda:0", "cuda:0", True), ("cuda", "cuda:0", False),
    ("cuda:0", "cuda:1", False), ("cpu", "cuda", False), ("cpu", "meta", False), ("meta", "meta", True)])
def test_two_names_of_one_device(second_of_two, a, b, same):
    assert same_device(a, b) == same_device(b, a) == same


def test_no_cuda_is_asked_about_other_devices(monkeypatch):
    def nobody():
        raise RuntimeError("no CUDA here")
    monkeypatch.setattr(torch.cuda, "current_device", nobody)
    assert same_device("cpu", "cpu:0") and not same_device("cpu", "cuda") and same_device("cuda:1", "cuda:1")


@pytest.fixture
def A():
    return Adj.from_edges([0, 0, 1], [1, 2, 0], (2, 3))


def test_an_adjacency_that_is_there_keeps_what_it_has_worked_out(A):
    mean, back = normalize_row(A), A.T
    for name in ("cpu", "cpu:0", torch.device("cpu", 0)):
        assert A.to(name) is A and normalize_row(A.to(name)) is mean and A.to(name).T is back


class Elsewhere(Adj):
    """An adjacency that says it lies on the CUDA device of index 1, where there is none."""
    device = torch.device("cuda:1")


def test_cuda_means_the_current_device(second_of_two):
    A = Elsewhere.from_edges([0, 0, 1], [1, 2, 0], (2, 3))
    assert A.to("cuda") is A and A.to("cuda:1") is A
    assert A.to("meta") is not A and A.to("meta").device.type == "meta"


def test_a_graph_goes_on_sharing_its_adjacencies(A):
    adjs = {("track", "in", "playlist"): A, ("playlist", "contains", "track"): A.T}
    graph = HeteroGraph({"track": 3, "playlist": 2}, adjs)
    moved = graph.to("cpu:0")
    assert all(moved.adjs[relation] is graph.adjs[relation] for relation in graph.adjs)
