"""Several processes on one training run, started by torchrun; one process when started plainly.

What is shared out: every batch's links (sampling/links.py) and the playlists to be ranked. What every process holds:
the graph, the parameters, the random states. Gradients are averaged by DistributedDataParallel.
"""
from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Processes:
    """rank 0 … world − 1; `first` is the one that writes files and prints."""

    def __init__(self, device: torch.device):
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.first = self.rank == 0
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            dist.barrier()

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network with gradients averaged over the processes; itself when there is one."""
        if self.world == 1:
            return net
        return nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)

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
        if self.world > 1:
            dist.destroy_process_group()
