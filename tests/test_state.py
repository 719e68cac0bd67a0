"""training/state.py: the random states that a checkpoint holds."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from training.state import State


class Devices:
    """CUDA's random states on a machine with `count` devices, in use or not."""

    def __init__(self, count, used=True):
        self.states = [torch.full((16,), index, dtype=torch.uint8) for index in range(count)]
        self.used = used

    def install(self, monkeypatch):
        def write(state, device):
            assert state.device.type == "cpu"
            self.states[device] = state.clone()
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: self.used)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(self.states))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(self.states))
        monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [state.clone() for state in self.states])
        monkeypatch.setattr(torch.cuda, "set_rng_state", write)
        return self


@pytest.fixture
def state():
    net = nn.Linear(2, 1)
    return State(net, torch.optim.Adam(net.parameters()), torch.Generator().manual_seed(3), SimpleNamespace())


def test_the_states_of_cuda_are_saved_and_restored(state, monkeypatch):
    Devices(2).install(monkeypatch)
    saved = state.checkpoint()
    assert [int(s[0]) for s in saved["cuda"]] == [0, 1]
    later = Devices(2).install(monkeypatch)
    later.states = [torch.full((16,), 9, dtype=torch.uint8)] * 2
    state.restore(saved)
    assert [int(s[0]) for s in later.states] == [0, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_devices_takes_what_there_is(state, monkeypatch, count):
    Devices(2).install(monkeypatch)
    saved = state.checkpoint()
    other = Devices(count).install(monkeypatch)
    other.states = [torch.full((16,), 9, dtype=torch.uint8)] * count
    state.restore(saved)
    assert [int(s[0]) for s in other.states] == [0, 1, 9][:count]


def test_without_cuda_there_is_nothing_of_it(state, monkeypatch):
    Devices(1, used=False).install(monkeypatch)
    assert "cuda" not in state.checkpoint()
    Devices(2).install(monkeypatch)
    saved = state.checkpoint()
    Devices(0, used=False).install(monkeypatch)
    state.restore(saved)                                    # a run of a GPU that goes on without one
    Devices(1).install(monkeypatch)
    state.restore({name: value for name, value in saved.items() if name != "cuda"})         # and the other way round


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs CUDA"))])
def test_dropout_goes_on_where_it_stopped(device):
    net = nn.Dropout(0.5)
    state = State(net, torch.optim.Adam(nn.Linear(1, 1).parameters()), torch.Generator(), SimpleNamespace())
    x = torch.ones(1000, device=device)
    net(x)
    saved, expected = state.checkpoint(), net(x)
    net(x)
    state.restore(saved)
    assert torch.equal(net(x), expected)
