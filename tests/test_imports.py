"""The house, floor by floor: imports point downward only, and a model knows no other model."""
import ast
import sys
from pathlib import Path

import pytest

from gnn import MODELS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ["train", "evaluate", "recommend", "visualize", "fetch_audio_features"]
FLOORS = [SCRIPTS, ["recommending"], ["training"], ["audio", "pictures"], ["mpd", "sampling"], ["gnn", "ranking"],
          ["common"]]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODEL_FILES = {model.__module__.removeprefix("gnn.") for model in MODELS.values()}
LEAVES = {"ranking", "common"}                          # rooms that know nobody but themselves
PLAIN = {"torch", "numpy", "scipy", "tqdm"}             # what a leaf may import beside the standard library


def imports_of(file: Path) -> list[str]:
    """The modules that a file imports, anywhere in it; of `from package import name`, package.name too."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}, line {node.lineno}: a relative import does not say which room it enters"
            found += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def wrong_in(name: str, modules: list[str]) -> list[str]:
    """The imports of a file of the house, "room/file" or "script", that its floor does not allow."""
    room, _, inside = name.partition("/")
    wrong = []
    for module in modules:
        other = module.split(".")[0]
        if other not in FLOOR:
            continue
        if FLOOR[other] < FLOOR[room] or (FLOOR[other] == FLOOR[room] and other != room and room not in SCRIPTS):
            wrong.append(module)                                    # upward, or to a neighbour
        elif room in LEAVES and other != room:
            wrong.append(module)
        elif room == "gnn" and inside in MODEL_FILES and module.split(".")[:2] != ["gnn", "sparse"]:
            wrong.append(module)                                    # a model knows gnn.sparse alone
        elif name in ("gnn/sparse", "gnn/adjacency") and module.split(".")[:2] != ["gnn", "adjacency"]:
            wrong.append(module)
    return wrong


def files() -> list[str]:
    """Every source file on a floor, as "room/file" or "script"."""
    inside = [f"{room}/{path.stem}" for room in FLOOR for path in sorted((ROOT / room).glob("*.py"))]
    return SCRIPTS + inside


@pytest.mark.parametrize("name", files())
def test_imports_point_downward(name):
    assert wrong_in(name, imports_of(ROOT / f"{name}.py")) == []


@pytest.mark.parametrize("name, module", [
    ("ranking/topk", "training.trained"), ("ranking/losses", "gnn.sparse"), ("ranking/metrics", "common.errors"),
    ("common/files", "mpd.playlists"), ("common/cli", "training"), ("gnn/gcn", "gnn.lightgcn"), ("gnn/hgt", "gnn"),
    ("gnn/gat", "gnn.graph"), ("gnn/sparse", "gnn.graph"), ("gnn/adjacency", "gnn.sparse"), ("gnn/graph", "mpd.split"),
    ("mpd/build", "sampling.links"), ("sampling/links", "mpd"), ("audio/store", "pictures.style"),
    ("training/trained", "recommending"), ("training/state", "train"), ("recommending/recommender", "recommend"),
    ("mpd/split", "audio.store"), ("gnn/gcn", "gnn.sparse_twin")])
def test_a_forbidden_import_is_found(name, module):
    assert wrong_in(name, [module]) == [module]


@pytest.mark.parametrize("name", [name for name in files() if name.split("/")[0] in LEAVES] +
                         ["gnn/sparse", "gnn/adjacency"])
def test_leaves_need_torch_numpy_scipy_bars_and_the_standard_library_only(name):
    outside = {module.split(".")[0] for module in imports_of(ROOT / f"{name}.py")} - set(sys.stdlib_module_names)
    assert outside <= PLAIN | {name.split("/")[0]}


def test_the_top_level_is_five_scripts_and_every_folder_of_code_has_its_floor():
    assert sorted(path.stem for path in ROOT.glob("*.py")) == sorted(SCRIPTS)
    folders = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert folders - {"tests", "benchmarks", "lessons"} == FLOOR.keys() - set(SCRIPTS)
