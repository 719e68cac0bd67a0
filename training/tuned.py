"""What a setting is where it is not given, by model, loss and split, and why. All that was tuned stands here."""
from __future__ import annotations

from typing import Any, NamedTuple

from mpd.build import RELATION_WEIGHTS


class Row(NamedTuple):
    """In a run whose settings have all of the values `when`, those that are not given have the values `then`."""
    when: dict[str, Any]                        # {setting: its value, or a tuple of which any will do}
    then: dict[str, Any]                        # {setting: its default}

    def holds(self, settings) -> bool:
        return all(getattr(settings, name) in _any(value) for name, value in self.when.items())

    def name(self, settings=None) -> str:
        """What the row is for, as in "hgt, bpr". Where several values will do: the run's, or without settings all of
        them, as in "hgt, bpr/bce"."""
        said = []
        for name, value in self.when.items():
            values = [getattr(settings, name)] if settings else _any(value)
            said.append(WORDS.get(name, "{}").format("/".join(map(str, values))))
        return ", ".join(said) or "always"


WORDS = {"held_out": "nothing held out", "split_by": "split-by {}"}        # where a value alone would not be understood


def _any(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


# Rows further down overrule those above. benchmarks/LOG.md has the measurements behind them.
TUNED = [
    Row({}, {"dim": 64, "heads": 4, "bases": 0, "dropout": 0.0, "exponent": 0.5, "track_weight": 1.0, "lr": 0.01,
             "relation_weights": list(RELATION_WEIGHTS), "edge_dropout": 0.0, "num_neg": 1, "neg_power": 0.0,
             "miner": "best-of", "candidates": 16, "among": 1, "window": 1000, "guard": 0, "mix": 0.0, "semi_hard": 0.0,
             "warm_up": 1, "refresh": 1}),
    # A softmax sees the whole catalogue in every step: large batches, a low temperature and no weight decay, and it is
    # done in a dozen epochs.
    Row({"loss": "softmax"}, {"score": "cosine", "temperature": 0.1, "batch_size": 8192, "weight_decay": 0.0,
                              "epochs": 12, "patience": 4, "owners": True, "relation_weights": [1.0, 1.0, 1.0]}),
    Row({"loss": ("bpr", "bce")}, {"score": "dot", "temperature": 1.0, "batch_size": 2048, "weight_decay": 1e-4,
                                   "epochs": 30, "patience": 6, "owners": False}),
    # LightGCN and GCN want width and dropped links; models with weights for every type want small steps, or they
    # overshoot.
    Row({"model": "lightgcn", "loss": "softmax"}, {"dim": 384, "temperature": 0.08, "exponent": 0.4,
                                                   "edge_dropout": 0.5}),
    Row({"model": "lightgcn", "loss": ("bpr", "bce")}, {"epochs": 60}),
    Row({"model": "gcn", "loss": "softmax"}, {"dim": 256, "temperature": 0.08, "edge_dropout": 0.5}),
    Row({"model": "sage", "loss": "softmax"}, {"dim": 128, "lr": 0.005, "edge_dropout": 0.5}),
    Row({"model": ("gat", "rgcn", "hetero-sage", "hgt"), "loss": "softmax"}, {"dim": 128, "lr": 0.003}),
    Row({"model": "hgt", "loss": ("bpr", "bce")}, {"epochs": 20}),
    # Links held out at random continue nothing, so that order would mislead; hidden ends do, and so do cold playlists,
    # with three tracks to go by.
    Row({"split_by": "random"}, {"recency": 0.0}),
    Row({"split_by": "last"}, {"recency": 2.0}),
    Row({"split_by": "cold"}, {"recency": 1.0}),
    # Without validation nothing stops a run in time, so it is told when (5 is the median best epoch of validated runs);
    # and where nothing is held out, what is recommended continues the ends.
    Row({"held_out": False}, {"recency": 2.0}),
    Row({"model": "lightgcn", "loss": "softmax", "held_out": False}, {"epochs": 5}),
]
