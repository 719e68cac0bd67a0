"""Train a graph neural network to continue playlists.

    python train.py                                          synthetic playlists, LightGCN, about a minute
    python train.py --data mpd/data --slices 50 --model gcn  the first 50 slices of the Million Playlist Dataset
    torchrun --nproc-per-node 2 train.py --model hgt         two processes share every batch

How a batch becomes a gradient:

    parse                    flags → Settings                   training/flags.py, settings.py, tuned.py
    main ── start_run        data → split → run folder          mpd/, training/folder.py
      │  ├─ make_links       negatives and batches              training/batches.py
      │  └─ make_model       inputs and model                   gnn/
      └─ for every epoch
           ├─ links          sample pairs, negatives, blocks    sampling/
           ├─ net            layer 0 → message passing          gnn/inputs.py, gnn/<model>.py
           ├─ batch_loss     scores → loss                      ranking/losses.py
           ├─ backward, step                                    training/optimiser.py
           └─ validate       rank the catalogue, keep the best  gnn/readout.py, ranking/protocol.py
"""
from __future__ import annotations

import math
import platform
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import mpd
from audio.store import track_features
from common import cli
from common.errors import InputError
from gnn import make_model, view_of
from gnn.readout import ReadOut, scaled, score_tables
from mpd.build import build_graph, census, provenance, shown_tracks
from mpd.kcore import k_core
from mpd.playlists import Playlists
from mpd.split import Split, make_split
from ranking import losses
from ranking.protocol import Part, dot_scores, popularity_scores
from sampling.links import Batch
from training import folder
from training.batches import make_links, make_negatives
from training.flags import parse
from training.optimiser import gradient_norm, make_optimiser
from training.processes import Processes
from training.settings import Settings
from training.state import SELECT_BY, State

VALIDATE_AT = [10, 100]
COLUMNS = ["recall@10", "ndcg@10", "r_precision", "recall@100"]


# ---- the data of a run -----------------------------------------------------------------------------------------------

def prepare(settings: Settings) -> tuple[Playlists, Playlists, Split]:
    """Read, cut to the k-core, split → (playlists as read, playlists kept, split)."""
    before = mpd.load(settings.data, slices=settings.slices, skip_bad=settings.skip_bad)
    playlists, shares = k_core(before, settings.k_core), settings.split
    if shares is None:
        shares = (0.8, 0.1, 0.1) if playlists.own_test is None else (1, 0, 0)
    return before, playlists, make_split(playlists, settings.split_by, shares, settings.split_seed)


def start_run(settings: Settings, command: str) -> Path:
    """Read, split and describe the data, or take them from the run to refit; the split and the settings go to the run
    folder, which is returned."""
    features, described, refit = None, "", settings.refit
    if refit is None:
        before, playlists, split = prepare(settings)
        fingerprint, name = folder.fingerprint(playlists), f"{settings.model}-{settings.neg}-{settings.loss}"
        if settings.features:
            features, names, coverage = track_features(settings.features, playlists)
            described = f"features   {len(names)} a track, {coverage:.1%} of the tracks have them"
    else:
        before = playlists = folder.load_catalogue(refit)
        split = folder.load_split(refit, folder.PARTS).refit()              # the test part is copied, not looked at
        fingerprint, name = folder.load_config(refit).get("data_fingerprint"), f"{refit.resolve().name}-refit"
        if settings.features:
            features = folder.load_checkpoint(refit / "features.pt")["track"]
            described = f"features   those of {refit}"
    out = settings.out or folder.fresh_folder(name)
    said = [playlists.note, provenance(split, before, playlists), described, f"run        {out}"]
    print("\n".join(filter(None, said)))
    folder.create(out, {"settings": settings.stored(), "command": command,
                        "data_fingerprint": fingerprint,
                        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                                     "numpy": np.__version__}}, playlists, split, features)
    return out


# ---- a batch's loss --------------------------------------------------------------------------------------------------

def against_catalogue(z: dict[str, Tensor], batch: Batch, types: tuple[str, str], score: str,
                      temperature: float) -> Tensor:
    """Each link against all tracks, or those that stand for them, by a softmax."""
    P, T = types
    playlists, of = batch.playlist.unique(return_inverse=True)                                            # (U,), (B,)
    rows = lookup(z, (P, playlists), (T, batch.positive), (T, batch.catalogue))
    p, t, catalogue = (scaled(v, score) for v in rows)                                      # (U, D), (B, D), (S, D)
    p = p / temperature
    positive = (F.embedding(of, p) * t).sum(1)                                                            # (B,)
    return losses.softmax(positive, p @ catalogue.t(), of, batch.weight)                                  # (U, S)


def against_negatives(loss: Callable[[Tensor, Tensor], Tensor], z: dict[str, Tensor], batch: Batch,
                      types: tuple[str, str], score: str, temperature: float) -> Tensor:
    """Each link against its negatives, by a loss of positive (B,) and negative (B, M) scores."""
    P, T = types
    rows = lookup(z, (P, batch.playlist), (T, batch.positive), (T, batch.negative.flatten()))
    p, t, n = (scaled(v, score) for v in rows)                                                  # (B, D), n (B · M, D)
    p = p / temperature
    negative = torch.einsum("bd,bmd->bm", p, n.view(*batch.negative.shape, -1))                           # (B, M)
    return loss((p * t).sum(1), negative)


LOSSES = {"softmax": against_catalogue, "bpr": partial(against_negatives, losses.bpr),
          "bce": partial(against_negatives, losses.bce)}


def batch_loss(settings: Settings, x: dict[str, Tensor], z: dict[str, Tensor], batch: Batch,
               types: tuple[str, str]) -> Tensor:
    """The loss of a batch whose layer-0 vectors are x and embeddings z, {type: (n_t, D)}, with the L2 pull on its rows
    of x. types: what the view calls playlists and tracks.

    Training scores z itself; validation and recommending score a read-out of z (gnn/readout.py), which is computed from
    the embeddings when they are learnt, and has nothing to learn by gradient."""
    value = LOSSES[settings.loss](z, batch, types, settings.score, settings.temperature)
    if not settings.weight_decay:
        return value
    P, T = types
    pulled = [(P, batch.playlist), (T, batch.positive)]
    pulled += [] if batch.negative is None else [(T, batch.negative.flatten())]
    return value + settings.weight_decay * losses.l2(*lookup(x, *pulled))


def lookup(table: dict[str, Tensor], *wanted: tuple[str, Tensor]) -> list[Tensor]:
    """The rows (n, D) of the table {type: (N_t, D)} for each (type, ids (n,)). All of a type are looked up at once, as
    the gradient of every look-up is as large as the table."""
    of_type = {}
    for t in dict.fromkeys(t for t, _ in wanted):
        ids = [i for s, i in wanted if s == t]
        of_type[t] = iter(F.embedding(torch.cat(ids), table[t]).split([len(i) for i in ids]))
    return [next(of_type[t]) for t, _ in wanted]


# ---- what is printed -------------------------------------------------------------------------------------------------

def describe(row: dict) -> str:
    """One line an epoch."""
    scores = "  ".join(f"{name} {row[name]:.4f}" for name in (SELECT_BY, "recall@100") if name in row)
    return (f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  grad {row['grad_norm']:.3g}  {scores}  "
            f"{row['seconds']:.2f} s  {row['pairs_per_s']:,.0f} pairs/s")


def report(model: str, out: Path, history: list[dict], validation: Part | None) -> None:
    """The best epoch beside popularity on the validation part, and the next command."""
    if validation is not None:
        popularity = validation.measure(popularity_scores(validation.counts), VALIDATE_AT, lists=False)[0]
        best = max(history, key=lambda row: row[SELECT_BY])
        print("\nvalidation")
        print(cli.table(["Model", *COLUMNS], [[f"{model} (epoch {best['epoch']})", *(best[c] for c in COLUMNS)],
                                              ["popularity", *(popularity[c] for c in COLUMNS)]]))
    print(f"\nnext: python evaluate.py --run {out} --k 10 300")
    if validation is not None:
        print(f"      python train.py --refit {out}        to learn from the validation links too")


def main(argv: list[str] | None = None, settings: Settings | None = None) -> Path:
    """Train by flags, or by settings made by hand, and return the run folder."""
    # ---- 1 settings
    command = shlex.join(["python", *sys.argv]) if settings is None else f"train.main(settings={settings!r})"
    settings = settings or parse(argv)

    # ---- 2 seed, device and processes
    device = cli.choose_device(settings.device)
    processes = Processes(device)
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)

    # ---- 3 graph and split: the message graph holds training links only, and the test part stays closed
    out = settings.resume or processes.first_does(lambda: start_run(settings, command))
    playlists, split = folder.load_catalogue(out), folder.load_split(out, parts=("train", "val", "given_val"))
    graph = build_graph(playlists, split.train, settings.node_types, settings.relation_weights,
                        folder.load_features(out))
    view = view_of(settings.model, graph).to(device)
    types = view.type_of("playlist"), view.type_of("track")
    if processes.first:
        print(census(graph))
        print("settings   " + "\n           ".join(settings.lines()))
    shape = playlists.num_playlists, playlists.num_tracks
    shown, cold = shown_tracks(split.train, *shape), shown_tracks(split.given_val, *shape)
    validation = Part(split.train, split.val, split.given_val, *shape)
    negatives = make_negatives(settings, playlists, split.train, validation.known, generator, device)
    links = make_links(settings, view, split, playlists.num_tracks, negatives, generator, processes)

    # ---- 4 model and inputs
    net = make_model(view, **vars(settings)).to(device)

    def embedded() -> ReadOut:
        """Every node's embedding from the whole graph, ready to score."""
        return ReadOut(net.embed(view), shown, settings.score, settings.recency, settings.track_weight)

    def sides(z: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What miners score with: playlists and tracks, without the read-out."""
        return tuple(scaled(z[t].detach(), settings.score) for t in ("playlist", "track"))

    # ---- 5 optimiser, and where a resumed run stands
    optimiser = make_optimiser(net, links.messages.sampled, settings.lr)
    shared = processes.wrap(net)
    state = State(net, optimiser, generator, negatives)
    if settings.resume is not None and (out / "last.pt").exists():
        state.restore(folder.load_checkpoint(out / "last.pt", device))

    # ---- 6 the loop
    while state.epoch < settings.epochs and state.waited < settings.patience:
        started, sums = time.perf_counter(), torch.zeros(2, dtype=torch.float64)
        mining = settings.neg == "hard" and state.epoch >= settings.warm_up
        every_step = mining and settings.miner == "best-of" and not links.messages.sampled  # every node is at hand then
        if mining and (every_step or (state.epoch - settings.warm_up) % settings.refresh == 0):
            state.refresh(*sides(net.embed(view)))
        net.train()
        if settings.lr_decay:
            optimiser.param_groups[0]["lr"] = settings.lr * (1 + math.cos(math.pi * state.epoch / settings.epochs)) / 2
        for batch in tqdm(links, f"epoch {state.epoch + 1}", disable=None, leave=False):        # sample
            x, z = shared(batch.nodes, batch.adjs)                                              # forward
            loss = batch_loss(settings, x, z, batch, types)
            optimiser.zero_grad()
            (loss * batch.share).backward()                                                     # backward
            norm = gradient_norm(optimiser)
            optimiser.step()                                                                    # step
            sums += torch.stack([loss.detach() * batch.share, norm]).cpu()
            if every_step:
                negatives.refresh(*sides(view.split(z)))
        sums = processes.sum(sums) / processes.world
        if not sums.isfinite().all():
            raise InputError(f"{out}: the loss is not a number after epoch {state.epoch}; try a smaller --lr than "
                             f"{settings.lr:g}")
        seconds = time.perf_counter() - started
        row = {"epoch": state.epoch + 1, "loss": float(sums[0]) / len(links), "grad_norm": float(sums[1]) / len(links),
               "false_negatives": links.false_negatives}

        # ---- 7 validate, keep the best
        if split.val.size:
            row |= validation.measure(dot_scores(*score_tables(embedded(), cold)), VALIDATE_AT, processes=processes,
                                      lists=False)[0]
        row |= {"seconds": seconds, "pairs_per_s": split.train.size / seconds}
        best = state.log(row)
        if processes.first:
            if best:
                folder.save_checkpoint(out / "best.pt", {"net": net.state_dict(), "epoch": state.epoch})
            folder.save_checkpoint(out / "last.pt", state.checkpoint())
            folder.save_history(out, state.history)
            print(describe(row), flush=True)

    # ---- 8 what came out, and what to type next
    if processes.first:
        folder.save_history(out, state.history)
        report(settings.model, out, state.history, validation if split.val.size else None)
    processes.close()
    return out


if __name__ == "__main__":
    cli.run(main)
