"""What training changes from epoch to epoch, and what a resumed run needs to go on."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from common.errors import InputError

SELECT_BY = "ndcg@10"           # the validation metric that chooses the epoch; AUC never does


class State:
    """All that training changes, and every random state, so that a resumed run goes on as an uninterrupted one does.

    On the CPU, in one process, it ends bit for bit where that ends. On CUDA it draws the same numbers, but sums that
    many threads add to at once differ in their last digits from run to run, resumed or not. Of several processes the
    first one's states are kept for all: the same links, but on blocks, whose sizes differ, another dropout.
    """

    def __init__(self, net: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator, negatives):
        self.net, self.optimiser, self.generator, self.negatives = net, optimiser, generator, negatives
        self.epoch, self.best, self.waited, self.history, self.mined = 0, -1.0, 0, [], None

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        """Mine with these embeddings from now on."""
        self.mined = playlists, tracks
        self.negatives.refresh(playlists, tracks)

    def log(self, row: dict) -> bool:
        """Count an epoch; True if it is the best so far. Without validation the latest is the best."""
        self.epoch += 1
        self.history.append(row)
        if row.get(SELECT_BY, self.best + 1) > self.best:
            self.best, self.waited = row.get(SELECT_BY, self.best), 0
            return True
        self.waited += 1
        return False

    def checkpoint(self) -> dict:
        cuda = {"cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_initialized() else {}
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "epoch": self.epoch,
                "best": self.best, "waited": self.waited, "history": self.history, "mined": self.mined,
                "generator": self.generator.get_state(), "torch": torch.get_rng_state()} | cuda

    def restore(self, saved: dict) -> None:
        """Raises InputError if `saved` is no checkpoint of this network."""
        try:
            self.net.load_state_dict(saved["net"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.generator.set_state(saved["generator"].cpu())
            torch.set_rng_state(saved["torch"].cpu())
            if torch.cuda.is_available():                               # dropout on CUDA draws from its own generators
                for index, drawn in zip(range(torch.cuda.device_count()), saved.get("cuda", [])):
                    torch.cuda.set_rng_state(drawn.cpu(), index)
            self.epoch, self.best, self.waited = saved["epoch"], saved["best"], saved["waited"]
            self.history = saved["history"]
            if saved["mined"] is not None:
                self.refresh(*saved["mined"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"last.pt: not a checkpoint of this run ({str(error).splitlines()[0][:80]}); delete it "
                             f"and train again, or restore it from a copy") from error
