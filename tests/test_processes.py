"""training/processes.py: what torchrun's variables may say, and what several processes cannot do, in one line each."""

import pytest
import torch
from torch import nn

import train
import training.processes
from common.errors import InputError
from training.processes import Processes

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TORCHRUN = {"WORLD_SIZE": "3", "RANK": "2", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "localhost",
            "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    """Sets torchrun's variables, those that are not given are unset; a process group is only noted down."""
    started = []
    monkeypatch.setattr(training.processes.dist, "init_process_group", started.append)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: started.append(index))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def put(**variables):
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return started
    return put


@pytest.mark.parametrize("variables, said", [
    ({"WORLD_SIZE": "abc"}, "WORLD_SIZE=abc"), ({"WORLD_SIZE": "0", "RANK": "0"}, "WORLD_SIZE=0"),
    ({"WORLD_SIZE": "-2"}, "WORLD_SIZE=-2"), ({"WORLD_SIZE": ""}, "WORLD_SIZE="), ({"RANK": "1"}, "RANK=1"),
    ({"RANK": "x"}, "RANK=x"), (TORCHRUN | {"RANK": "3"}, "RANK=3"), (TORCHRUN | {"RANK": "-1"}, "RANK=-1"),
    ({"WORLD_SIZE": "2"}, "RANK"),
    ({"WORLD_SIZE": "2", "RANK": "1"}, "MASTER_ADDR"),
    ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost"}, "MASTER_PORT")])
def test_variables_that_make_no_sense_are_named(environment, variables, said):
    started = environment(**variables)
    with pytest.raises(InputError, match=f"{said}.*torchrun") as error:
        Processes(CPU)
    assert "\n" not in str(error.value) and not started


def test_a_plain_start_and_a_torchrun_start(environment):
    environment()
    plain = Processes(CPU)
    assert (plain.rank, plain.world, plain.first) == (0, 1, True)
    environment(WORLD_SIZE="1", RANK="0")                       # as some clusters set them for every program
    assert Processes(CPU).first
    started = environment(**TORCHRUN)
    third = Processes(CPU)
    assert (third.rank, third.world, third.first) == (2, 3, False) and started == ["gloo"]


@pytest.mark.parametrize("local", ["0", "2"])
def test_more_processes_than_devices(environment, local):
    started = environment(**TORCHRUN | {"LOCAL_RANK": local})
    with pytest.raises(InputError, match="3 processes.* 2 CUDA devices.*--nproc-per-node 2"):
        Processes(CUDA)
    assert not started                                          # nobody waits for a process that is not coming
    started = environment(**TORCHRUN | {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"})
    Processes(CUDA)
    assert started == [1, "cpu:gloo,cuda:nccl"]
    environment(**TORCHRUN | {"LOCAL_RANK": "two"})
    with pytest.raises(InputError, match="LOCAL_RANK=two"):
        Processes(CUDA)
    environment(**{name: value for name, value in TORCHRUN.items() if name != "LOCAL_WORLD_SIZE"})
    with pytest.raises(InputError, match="2 CUDA devices"):     # another launcher may not count
        Processes(CUDA)


def test_sampled_blocks_on_several_cuda_processes(environment, monkeypatch):
    """NCCL adds up dense gradients alone; gloo, on the CPU, both kinds."""
    wrapped = []
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", lambda net, **how: wrapped.append(net) or net)
    environment(**TORCHRUN | {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"})
    sparse, dense = (nn.Sequential(nn.Embedding(4, 2, sparse=on), nn.Linear(2, 1)) for on in (True, False))
    with pytest.raises(InputError, match="--fanout full.*--device cpu"):
        Processes(CUDA).wrap(sparse)
    assert callable(Processes(CUDA).wrap(dense)) and callable(Processes(CPU).wrap(sparse))
    assert wrapped == [dense, sparse]
    environment()
    assert Processes(CUDA).wrap(sparse) is sparse


def test_train_refuses_before_it_reads_anything(environment):
    environment(RANK="1")
    with pytest.raises(InputError, match="RANK=1"):
        train.main(["--data", "nowhere"])
