"""How long does a recommendation take?

    python benchmarks/recommending.py [--playlists 36000] [--tracks 100000] [--dim 128]

Plants playlists over a catalogue of --tracks tracks, saves a LightGCN as it starts (speed does not depend on what was
learnt), and times: opening the run, one list from three songs, the same with its reasons, and a challenge of 10,000
playlists of the challenge's ten kinds, written and checked. Medians of five; one thread unless OMP_NUM_THREADS says
otherwise. Writes benchmarks/results/recommending.json.
"""
from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from harness import arguments, save, take_turns
from common import cli
import recommend
from training.folder import create, save_checkpoint
from recommending.challenge import check_submission, read_challenge
from mpd.planted import Sizes
from mpd.split import make_split
from mpd.synthetic import plant
from recommending import Recommender
from training.settings import Settings
from training.trained import Trained

KINDS = [(True, 0), (True, 1), (True, 5), (False, 5), (True, 10), (False, 10), (True, 25), (True, 25), (True, 100),
         (True, 100)]                                   # (title?, tracks shown) of the challenge's 1,000 playlists each
REPEATS = 5


def make_run(folder: Path, playlists, dim: int) -> None:
    """A run of a LightGCN before its first step."""
    settings = Settings(split=[1.0, 0.0, 0.0], dim=dim, epochs=1)
    create(folder, {"settings": settings.stored()}, playlists, make_split(playlists, shares=(1, 0, 0)))
    save_checkpoint(folder / "best.pt", {"net": Trained(folder, fresh=True).net.state_dict(), "epoch": 0})


def make_challenge(path: Path, playlists, count: int) -> None:
    """`count` playlists that show the beginnings of planted ones."""
    ends = np.searchsorted(playlists.playlist, np.arange(count + 1))
    rows = []
    for i in range(count):
        title, shown = KINDS[i % len(KINDS)]
        tracks = playlists.track[ends[i]:ends[i + 1]][:shown].tolist()
        rows.append({"pid": 10 ** 6 + i, "num_samples": len(tracks), "num_holdouts": 5, "num_tracks": len(tracks) + 5,
                     "tracks": [{"pos": pos, "track_uri": playlists.track_uris[t]} for pos, t in enumerate(tracks)]}
                    | ({"name": playlists.playlist_names[i]} if title else {}))
    path.write_text(json.dumps({"date": "", "version": "v1", "playlists": rows}))


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__, data=False)
    parser.add_argument("--playlists", type=int, default=36_000)
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--challenge", type=int, default=10_000, help="playlists to answer in bulk")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        names = "run", "challenge_set.json", "submission.csv.gz"
        run, challenge, submission = (Path(temporary) / name for name in names)
        table = plant(args.playlists, sizes=Sizes(tracks=args.tracks))[0]
        make_run(run, table, args.dim)
        make_challenge(challenge, table, args.challenge)
        started = time.perf_counter()
        music = Recommender.load(run)
        music.vectors                                   # made at first use
        opened = time.perf_counter() - started
        rng = np.random.default_rng(0)
        seeds = rng.integers(0, table.num_tracks, 3).tolist()
        best = music.from_seeds(seeds, 1)[0].track
        rows = {"tracks": table.num_tracks, "dim": args.dim, "threads": torch.get_num_threads(), "open s": opened}
        rows |= take_turns({"three songs ms": lambda: music.from_seeds(seeds, 10),
                            "three songs, penalty and cap ms": lambda: music.from_seeds(seeds, 10, 0.2, 1),
                            "reasons ms": lambda: music.explain(best, seeds=seeds),
                            "a playlist ms": lambda: music.complete(int(table.pids[7]), 10)},
                           REPEATS, warm_up=1, clock=time.perf_counter)
        started = time.perf_counter()
        recommend.write_challenge(music, challenge, submission, "us", "us@example.org", "main", 0.0, None)
        rows[f"{args.challenge} challenge playlists s"] = time.perf_counter() - started
        wrong = check_submission(submission, read_challenge(challenge))
        if wrong:
            raise SystemExit(f"the submission breaks a rule: {wrong[0]}")
    print(cli.table(["what", "value"], [[name, f"{value:,.4g}"] for name, value in rows.items()]))
    save("recommending", rows)
    return rows


if __name__ == "__main__":
    main()
