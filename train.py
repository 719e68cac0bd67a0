"""Train a graph neural network to continue playlists.

    python train.py                                          synthetic playlists, LightGCN, about a minute
    python train.py --data mpd/data --slices 50 --model gcn  the first 50 slices of the Million Playlist Dataset

How a batch becomes a gradient:

    main ── prepare          data → split → graph               mpd/
      │  └─ make_model       inputs and model                   gnn/
      └─ for every epoch
           ├─ links          sample pairs and negatives         sampling/links.py, sampling/negatives.py
           ├─ net            layer 0 → message passing          gnn/inputs.py, gnn/<model>.py
           ├─ batch_loss     scores → loss                      ranking/losses.py
           ├─ backward, step
           └─ validate       rank the catalogue, keep the best  ranking/protocol.py
"""
from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import cli
import mpd
import runs
from errors import InputError
from gnn import MODELS, make_model, own_settings, view_of
from gnn.graph import HeteroGraph
from gnn.readout import score_tables
from mpd.build import NODE_TYPES, RELATION_WEIGHTS, build_graph, census
from mpd.kcore import k_core
from mpd.split import Pairs, make_split
from ranking import losses
from ranking.protocol import Part, dot_scores, popularity_scores
from sampling.links import Batch, FullGraphLinks
from sampling.negatives import HardNegatives, Negatives

SELECT_BY = "ndcg@10"           # the validation metric that chooses the epoch; AUC never does
VALIDATE_AT = [10, 100]
COLUMNS = ["recall@10", "ndcg@10", "r_precision", "recall@100"]
RESUMABLE = {"resume", "epochs", "device"}      # flags that may differ from the run that is resumed


# ---- 1 arguments -----------------------------------------------------------------------------------------------------

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="train.py", description=__doc__.split("\n\n")[0])
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, help="MPD slices (folder, file or .zip), or a folder or .zip with train.txt "
                      "and test.txt; without it, synthetic playlists are made under data/")
    data.add_argument("--slices", type=int, help="read only the first N slices, in numeric order")
    data.add_argument("--skip-bad", action="store_true", help="leave out broken playlists and count them, instead of "
                      "stopping at the first")
    data.add_argument("--k-core", type=int, default=1, help="keep playlists and tracks with at least K links to one "
                      "another; higher is denser, easier and smaller")
    data.add_argument("--node-types", nargs="+", choices=NODE_TYPES, default=list(NODE_TYPES), metavar="TYPE",
                      help="which nodes the graph has; leave out artist or album to see what they are worth")
    data.add_argument("--relation-weights", nargs=3, type=float, default=list(RELATION_WEIGHTS),
                      metavar=("PLAYLIST", "ARTIST", "ALBUM"), help="weight of a track's links to each, in models that "
                      "see one kind of node")
    data.add_argument("--split", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"),
                      help="shares of the links; 1 0 0 trains on everything (default: 0.8 0.1 0.1, or 1 0 0 of the "
                      "training part when the data bring a test part)")
    data.add_argument("--split-by", choices=["random", "last", "cold"], default="random",
                      help="hide random links, the end of every playlist, or whole playlists")
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=sorted(MODELS), default="lightgcn", help="how messages are passed")
    model.add_argument("--dim", type=int, default=64, help="length of every embedding; more memorises more")
    model.add_argument("--layers", type=int, default=2, help="how many hops a message travels")
    model.add_argument("--heads", type=int, default=4, help="attention heads of gat and hgt; must divide --dim")
    model.add_argument("--bases", type=int, default=0, help="rgcn: relations share this many matrices; 0 gives each its "
                       "own")
    model.add_argument("--dropout", type=float, default=0.0, help="share of features zeroed between layers, where the "
                       "model has weights")
    learning = parser.add_argument_group("learning")
    learning.add_argument("--loss", choices=["bce", "bpr", "softmax"], default="bpr", help="bce judges each link alone, "
                          "bpr a link against a negative, softmax a link against the whole catalogue")
    learning.add_argument("--neg", choices=["random", "hard"], default="random", help="negatives drawn uniformly, or "
                          "the best scored of several draws")
    learning.add_argument("--num-neg", type=int, default=1, help="negatives a link")
    learning.add_argument("--candidates", type=int, default=16, help="draws that a hard negative is the best of; more "
                          "is harder, and past a hundred mostly unlabelled positives")
    learning.add_argument("--batch-size", type=int, default=2048, help="links a step")
    learning.add_argument("--epochs", type=int, default=60, help="passes over the training links at most")
    learning.add_argument("--lr", type=float, default=0.01, help="Adam's step size")
    learning.add_argument("--weight-decay", type=float, default=1e-4, help="pull on the input embeddings of a batch")
    learning.add_argument("--patience", type=int, default=6, help=f"epochs without a better validation {SELECT_BY} "
                          "before stopping")
    run = parser.add_argument_group("run")
    run.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    run.add_argument("--seed", type=int, default=0, help="seeds the split, the start and every draw")
    run.add_argument("--out", type=Path, help="run folder (default: runs/<model>-<neg>-<loss>-<time>)")
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on where RUN stopped, with its own settings; only "
                     "--epochs and --device may be given beside it")
    args = parser.parse_args(argv)
    given = cli.given(parser, argv)
    if args.resume is not None:
        args = _resumed(args, given)
    for name in sorted((given & {"heads", "bases", "dropout"}) - own_settings(args.model)):
        raise InputError(f"--{name}: {args.model} has no such setting; leave it out")
    if args.dim % args.heads and "heads" in own_settings(args.model):
        raise InputError(f"--heads {args.heads} does not divide --dim {args.dim}")
    for name in ("dim", "layers", "batch_size", "num_neg", "candidates", "epochs", "patience"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be at least 1")
    return args


def _resumed(args: argparse.Namespace, given: set[str]) -> argparse.Namespace:
    """The settings of the run to resume, with what was given beside --resume."""
    if given - RESUMABLE:
        flags = " ".join(f"--{name.replace('_', '-')}" for name in sorted(given - RESUMABLE))
        raise InputError(f"--resume keeps the settings of its run; {flags} cannot change: leave it out, or train anew")
    settings = vars(args) | {k: v for k, v in runs.load_config(args.resume)["settings"].items() if k not in given}
    settings["data"] = Path(settings["data"]) if settings["data"] else None
    return argparse.Namespace(**settings | {"resume": args.resume, "out": args.resume})


# ---- the pieces ------------------------------------------------------------------------------------------------------

def prepare(path: Path | None, slices: int | None, skip_bad: bool, core: int, by: str, shares, seed: int):
    """Read, cut to the k-core, split → (playlists as read, playlists kept, split)."""
    before = mpd.load(path, slices=slices, skip_bad=skip_bad)
    playlists = k_core(before, core)
    if shares is None:
        shares = (0.8, 0.1, 0.1) if playlists.own_test is None else (1, 0, 0)
    return before, playlists, make_split(playlists, by, shares, seed)


def batch_loss(loss: str, z: dict[str, Tensor], x: dict[str, Tensor], batch: Batch, links, decay: float) -> Tensor:
    """Scores of a batch → its loss, with the L2 pull on its layer-0 rows."""
    P, T = links.playlist_type, links.track_type
    p, t = z[P][batch.playlist], z[T][batch.positive]                                    # (B, D)
    positive = (p * t).sum(1)                                                            # (B,)
    layer0 = [x[P][batch.playlist], x[T][batch.positive]]
    if loss == "softmax":
        playlists, rows = batch.playlist.unique(return_inverse=True)                     # (U,), (B,)
        value = losses.softmax(positive, z[P][playlists] @ z[T][links.catalogue].t(), rows)
    else:
        n = z[T][batch.negative]                                                         # (B, M, D)
        negative = torch.einsum("bd,bmd->bm", p, n)                                      # (B, M)
        value = {"bce": losses.bce, "bpr": losses.bpr}[loss](positive, negative)
        layer0.append(x[T][batch.negative.flatten()])
    return value + decay * losses.l2(*layer0) if decay else value


def make_links(view: HeteroGraph, train: Pairs, num_playlists: int, num_tracks: int, layers: int, batch_size: int,
               loss: str, neg: str, num_neg: int, candidates: int, generator: torch.Generator):
    """Batches of links with the negatives that --neg and --loss ask for."""
    playlist, track = (torch.from_numpy(ids).long().to(view.device) for ids in (train.playlist, train.track))
    negatives = Negatives(playlist, track, num_playlists, num_tracks, generator)
    if neg == "hard":
        negatives = HardNegatives(negatives, candidates)
    whole = loss == "softmax"
    return FullGraphLinks(view, playlist, track, num_tracks, layers, batch_size, None if whole else negatives, num_neg,
                          generator, whole_playlists=whole)


class State:
    """All that training changes, so that a resumed run ends bit for bit where an uninterrupted one does."""

    def __init__(self, net: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator):
        self.net, self.optimiser, self.generator = net, optimiser, generator
        self.epoch, self.best, self.waited, self.history = 0, -1.0, 0, []

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
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "epoch": self.epoch,
                "best": self.best, "waited": self.waited, "history": self.history,
                "generator": self.generator.get_state(), "torch": torch.get_rng_state()}

    def restore(self, saved: dict) -> None:
        self.net.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.generator.set_state(saved["generator"].cpu())
        torch.set_rng_state(saved["torch"].cpu())
        self.epoch, self.best, self.waited = saved["epoch"], saved["best"], saved["waited"]
        self.history = saved["history"]


def start_run(out: Path, args: argparse.Namespace) -> None:
    """Read, split and describe the data; the split and the settings go to the run folder."""
    before, playlists, split = prepare(args.data, args.slices, args.skip_bad, args.k_core, args.split_by, args.split,
                                       args.seed)
    graph = build_graph(playlists, split.train, args.node_types)
    print("\n".join(filter(None, [playlists.note, census(graph, split, before, playlists), f"run        {out}"])))
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    runs.create(out, {"settings": settings, "command": shlex.join(["python", *sys.argv]),
                      "data_fingerprint": runs.fingerprint(playlists),
                      "versions": {"python": platform.python_version(), "torch": torch.__version__,
                                   "numpy": np.__version__}}, playlists, split)


def describe(row: dict) -> str:
    """One line an epoch."""
    scores = "  ".join(f"{name} {row[name]:.4f}" for name in (SELECT_BY, "recall@100") if name in row)
    return (f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  grad {row['grad_norm']:.3g}  {scores}  "
            f"{row['seconds']:.2f} s  {row['pairs_per_s']:,.0f} pairs/s")


def main(argv: list[str] | None = None) -> Path:
    """Train, and return the run folder."""
    args = parse(argv)

    # ---- 2 seed and device
    device = cli.choose_device(args.device)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)

    # ---- 3 graph and split: the message graph holds training links only, and the test part stays closed
    out = args.out or runs.ROOT / f"{args.model}-{args.neg}-{args.loss}-{time.strftime('%Y%m%d-%H%M%S')}"
    if args.resume is None:
        start_run(out, args)
    playlists, split = runs.load_catalogue(out), runs.load_split(out, parts=("train", "val", "given_val"))
    graph = build_graph(playlists, split.train, args.node_types, args.relation_weights)
    view = view_of(args.model, graph).to(device)
    links = make_links(view, split.train, playlists.num_playlists, playlists.num_tracks, args.layers, args.batch_size,
                       args.loss, args.neg, args.num_neg, args.candidates, generator)
    validation = Part(split.train, split.val, split.given_val, playlists.num_playlists, playlists.num_tracks)

    # ---- 4 model and inputs
    net = make_model(view, args.model, args.dim, args.layers, heads=args.heads, bases=args.bases,
                     dropout=args.dropout).to(device)

    # ---- 5 optimiser, and where a resumed run stands
    optimiser = torch.optim.Adam(net.parameters(), lr=args.lr, fused=True)
    state = State(net, optimiser, generator)
    if args.resume is not None and (out / "last.pt").exists():
        state.restore(runs.load_checkpoint(out / "last.pt", device))

    # ---- 6 the loop
    while state.epoch < args.epochs and state.waited < args.patience:
        started, sums = time.perf_counter(), np.zeros(2)
        if args.neg == "hard" and links.negatives is not None:
            z = net.embed(view)
            links.negatives.refresh(z["playlist"], z["track"])
        net.train()
        for batch in tqdm(links, f"epoch {state.epoch + 1}", disable=None, leave=False):       # sample
            x, z = net(batch.nodes, batch.adjs)                                                # forward
            loss = batch_loss(args.loss, z, x, batch, links, args.weight_decay)                # score, loss
            optimiser.zero_grad()
            loss.backward()                                                                    # backward
            norm = nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
            optimiser.step()                                                                   # step
            sums += loss.item(), norm.item()
        if not np.isfinite(sums).all():
            raise InputError(f"{out}: the loss is not a number after epoch {state.epoch}; try a smaller --lr than "
                             f"{args.lr:g}")
        seconds = time.perf_counter() - started
        row = {"epoch": state.epoch + 1, "loss": float(sums[0]) / len(links), "grad_norm": float(sums[1]) / len(links)}

        # ---- 7 validate, keep the best
        if split.val.size:
            row |= validation.measure(dot_scores(*score_tables(net.embed(view), validation.given)), VALIDATE_AT)[0]
        row |= {"seconds": seconds, "pairs_per_s": split.train.size / seconds}
        if state.log(row):
            runs.save_checkpoint(out / "best.pt", {"net": net.state_dict(), "epoch": state.epoch})
        runs.save_checkpoint(out / "last.pt", state.checkpoint())
        print(describe(row), flush=True)
    runs.save_history(out, state.history)

    # ---- 8 what came out, and what to type next
    if split.val.size:
        popularity = validation.measure(popularity_scores(validation.counts), VALIDATE_AT)[0]
        best = max(state.history, key=lambda row: row[SELECT_BY])
        print("\nvalidation")
        print(cli.table(["Model", *COLUMNS], [[f"{args.model} (epoch {best['epoch']})", *(best[c] for c in COLUMNS)],
                                              ["popularity", *(popularity[c] for c in COLUMNS)]]))
    print(f"\nnext: python evaluate.py --run {out} --k 10 300")
    return out


if __name__ == "__main__":
    cli.run(main)
