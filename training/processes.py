"""Several processes on one training run, started by torchrun; one process when started plainly.

What is shared out: every batch's links (sampling/links.py) and the playlists to be ranked. What every process holds:
the graph, the parameters, the random states. Gradients are averaged by DistributedDataParallel.
"""
from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from common.errors import InputError

HOW = "torchrun sets it for the processes that it starts; unset it to start a single one"


class Processes:
    """rank 0 … world − 1; `first` is the one that writes files and prints.

    Raises InputError if the environment's variables, which torchrun sets, do not describe a group of processes, or if
    there are more of them than CUDA devices on this machine.
    """

    def __init__(self, device: torch.device):
        self.world, self.rank, self.device = _variable("WORLD_SIZE", 1, 1), _variable("RANK", 0, 0), device
        self.first, self.wrapped = self.rank == 0, None
        if self.rank >= self.world:
            raise InputError(f"RANK={self.rank} of WORLD_SIZE={self.world}: must be below it; {HOW}")
        if self.world > 1 and not dist.is_initialized():
            missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
            if missing:
                raise InputError(f"WORLD_SIZE={self.world}: {missing[0]} is not set beside it; {HOW}")
            if device.type == "cuda":
                torch.cuda.set_device(_own_device())
            # Its functions hold, as a default, the group that exists when they are defined. The optimiser brings along
            # torch's compiler, which would import them after the group is made; it would then never end (`close`).
            importlib.import_module("torch.distributed.nn.functional")
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")

    def first_does(self, action: Callable):
        """The first process acts, the others wait for what it returns. If it raises InputError, it alone reports that,
        and the others leave with exit code 2."""
        outcome = [None, False]
        if self.first:
            try:
                outcome = [action(), True]
            finally:
                self._tell(outcome)
        else:
            self._tell(outcome)
            if not outcome[1]:
                self.close()
                sys.exit(2)
        return outcome[0]

    def _tell(self, outcome: list) -> None:
        if self.world > 1:
            dist.broadcast_object_list(outcome)

    def wrap(self, net: nn.Module) -> Callable:
        """The network's forward with gradients averaged over the processes; the network itself when there is one.

        Raises InputError for sparse gradients on CUDA, which NCCL cannot add up."""
        if self.world == 1:
            return net
        if self.device.type == "cuda" and any(getattr(part, "sparse", False) for part in net.modules()):
            raise InputError(f"sampled blocks on {self.world} CUDA processes: NCCL cannot add up sparse gradients; "
                             f"give --fanout full, or --device cpu, or start one process")
        self.wrapped = nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)
        return lambda *batch: self.wrapped(*batch)

    def gather(self, mine: Tensor) -> Tensor:
        """Rows that were dealt out one by one (row i to process i mod world) → all rows in their order, everywhere."""
        if self.world == 1:
            return mine
        parts = [None] * self.world
        dist.all_gather_object(parts, mine.cpu())
        out = torch.empty((sum(map(len, parts)), *mine.shape[1:]), dtype=mine.dtype)
        for rank, part in enumerate(parts):
            out[rank::self.world] = part
        return out

    def sum(self, mine: Tensor) -> Tensor:
        """Elementwise sum over the processes, (…) on the CPU."""
        if self.world > 1:
            dist.all_reduce(mine)
        return mine

    def close(self) -> None:
        """Part from the other processes, and end gloo's threads while Python still runs: a thread that lets go of a
        tensor while the interpreter shuts down aborts its process, and torchrun then stops the others.

        The threads end with the last reference to the group. That must be `group`: were it the network's, ending would
        wait for the threads with Python's lock held, and they may be waiting for that lock."""
        if self.world > 1:
            group, self.wrapped = dist.group.WORLD, None
            gc.collect()
            dist.destroy_process_group()
            del group


def _variable(name: str, default: int, least: int) -> int:
    """A whole number from the environment. Raises InputError if it is none, or below `least`."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{name}={text}: must be a whole number from {least} on; {HOW}")
    return int(text)


def _own_device() -> int:
    """The CUDA device that this process has to itself. Raises InputError, in every process, where there are too few."""
    mine, there = _variable("LOCAL_RANK", 0, 0), torch.cuda.device_count()
    here = max(_variable("LOCAL_WORLD_SIZE", 1, 1), mine + 1)                   # processes on this machine
    if here > there:
        raise InputError(f"{here} processes share the {there} CUDA devices of this machine, and each needs its own; "
                         f"start torchrun with --nproc-per-node {there}, or give --device cpu")
    return mine
