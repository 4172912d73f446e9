"""Who may import whom. Read from the syntax tree, so that an import inside a function counts."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import vae_model
from vae_model import Config, Detector

pytestmark = pytest.mark.slow

ROOT = Path(vae_model.__file__).parent
MODULES = {
    ".".join(("vae_model", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
DOORS = [
    ["printable"],
    ["errors", "networks", "decisions"],
    ["places", "features"],
    ["drift"],
    ["config", "scoring", "runs"],
    ["training"],
    ["detector"],
    ["evaluation", "report"],
    ["platforms"],
    ["spark"],
    ["console"],
    ["cli"],
    ["platforms.spark_ml"],
]
"""The rooms of the package in order: each imports only from those before it, and not from its neighbours in a line."""
RANK = {name: rank for rank, names in enumerate(DOORS) for name in names}
NEVER = {
    "scoring": {"config", "places", "training"},
    "networks": {"features"},
    "features": {"networks"},
    "decisions": {"features"},
    "detector": {"spark"},
}
"""What a room must not import, wherever the doors may come to stand."""
DRIVER_ONLY = ["pydantic", "safetensors", "torch", "pyspark", "ruamel", "typer", "rich", "fsspec"]
"""What a worker does not have."""


def imports(path: Path, module: str, typing_too: bool = True) -> set[str]:
    """Absolute names of all that a file imports, at the top or inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                node.body = []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return found


def reachable(module: str) -> set[str]:
    """Modules of the package that importing ``module`` runs, top-level imports only."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in seen or name not in MODULES:
            continue
        seen.add(name)
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return seen


def room(module: str) -> str:
    """The first part of a module's name under the package, or all of it where the module has a place of its own."""
    name = module.removeprefix("vae_model.")
    return name if name in RANK else name.split(".")[0]


def inner(path, module, **how):
    """The modules of the package that a file imports."""
    return {name for name in imports(path, module, **how) if name.startswith("vae_model.")}


def test_every_module_has_a_room():
    """A new module stands in a room that has its place in the order, and no room is listed that is not there."""
    assert {room(module) for module in MODULES if module != "vae_model"} == set(RANK)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "vae_model"])
def test_imports_go_through_the_doors(module):
    """A module imports its own room or an earlier one, never a later one or a neighbour."""
    others = {name for name in inner(MODULES[module], module) if room(name) != room(module)}
    assert {name for name in others if RANK[room(name)] >= RANK[room(module)]} == set()


@pytest.mark.parametrize("name", NEVER)
def test_what_a_room_must_not_import(name):
    """No module of the room imports, at the top, inside a function or for its types, what it must never depend on."""
    modules = [module for module in MODULES if module != "vae_model" and room(module) == name]
    assert modules
    found = {imported for module in modules for imported in inner(MODULES[module], module)}
    assert {imported for imported in found if room(imported) in NEVER[name]} == set()


def test_a_room_says_what_it_is_for_and_no_more():
    """The ``__init__.py`` of a room is a docstring; ``vae_model.spark`` alone hands something out."""
    for module, path in MODULES.items():
        if path.name == "__init__.py" and module not in ("vae_model", "vae_model.spark"):
            (docstring,) = ast.parse(path.read_text(encoding="utf-8")).body
            assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant), module


def test_places_stands_beside_errors():
    """Places knows nothing of the package but its errors."""
    found = {name for module in MODULES if ".places" in module for name in inner(MODULES[module], module)}
    assert {room(name) for name in found} == {"places", "errors"}


def test_no_import_cycles():
    """No module reaches itself through what it imports at run time."""
    graph = {m: inner(path, m, typing_too=False) - {m} for m, path in MODULES.items() if m != "vae_model"}
    order = list(TopologicalSorter(graph).static_order())
    assert set(graph) <= set(order)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_spark_edge_imports_pyspark(module):
    """pyspark, delta, pysail and py4j appear under vae_model/spark and in platforms, the command line excluded."""
    found = {name.split(".")[0] for name in imports(MODULES[module], module)}
    engines = found & {"pyspark", "delta", "pysail", "py4j"}
    assert module.startswith(("vae_model.spark", "vae_model.platforms")) or engines == set()


def test_only_training_imports_torch():
    """The name torch appears in one room and nowhere else."""
    found = {m for m, path in MODULES.items() if "torch" in {n.split(".")[0] for n in imports(path, m)}}
    assert {room(module) for module in found} == {"training"}


def test_a_worker_needs_none_of_the_drivers_packages():
    """Nothing that importing the scorer runs imports a package a worker does not have."""
    needed = reachable("vae_model.scoring.scorer")
    own = {f"vae_model.scoring.{name}" for name in ("scorer", "model_file", "ensemble", "residuals", "reasons")}
    assert own | {"vae_model.features.spec", "vae_model.networks.dense", "vae_model.decisions.ranks"} <= needed
    for module in needed:
        tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
        top = {alias.name.split(".")[0] for n in tree.body if isinstance(n, ast.Import) for alias in n.names}
        top |= {n.module.split(".")[0] for n in tree.body if isinstance(n, ast.ImportFrom) and n.module}
        assert top & set(DRIVER_ONLY) == set(), module


def test_a_worker_imports_little():
    """Importing the scorer loads a few parts of this package, and not pandas, which alone would take three times as
    long as all of it.
    """
    script = "import json, sys; import vae_model.scoring.scorer; print(json.dumps(sorted(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = json.loads(process.stdout)
    assert "pandas" not in loaded
    assert len([name for name in loaded if name.startswith("vae_model")]) <= 57
    assert len(loaded) < 400


BLOCKER = """
import sys
BLOCKED = set(sys.argv[1].split(","))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run(script, blocked, *arguments):
    """Run a script in a fresh interpreter where some packages cannot be imported; its last line is JSON."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKER + script, ",".join(blocked), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_a_worker_scores_without_the_drivers_packages(tmp_path):
    """Model bytes are loaded and rows scored, to the last bit alike, where only numpy, pandas and pyarrow exist."""
    draw = np.random.default_rng(0)
    rows = pa.table({"a": draw.normal(size=120), "b": draw.choice(["x", "y"], 120)})
    detector = Detector(Config.model_validate({"model": {"steps": 20}})).fit(rows)
    detector.save(str(tmp_path / "m.vae"))
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    script = """
import json
from pathlib import Path
import pyarrow as pa
from vae_model.scoring.scorer import Scorer
scorer = Scorer.from_bytes(Path(sys.argv[2]).read_bytes())
rows = pa.ipc.open_file(sys.argv[3]).read_all()
scored = scorer([rows.column(name).combine_chunks() for name in scorer.names])
loaded = sorted(BLOCKED & {name.split(".")[0] for name in sys.modules})
print(json.dumps({"scores": scored.field("anomaly_score").to_pylist(), "loaded": loaded}))
"""
    answer = run(script, DRIVER_ONLY, tmp_path / "m.vae", tmp_path / "rows.arrow")
    assert answer["loaded"] == []
    assert answer["scores"] == detector.score(rows)["anomaly_score"].to_pylist()


def test_the_package_imports_without_torch_and_pyspark():
    """``import vae_model`` and its public names need neither torch nor pyspark."""
    script = """
import json
import vae_model
names = [name for name in vae_model.__all__ if getattr(vae_model, name) is not None]
print(json.dumps(names))
"""
    assert run(script, ["torch", "pyspark"]) == ["Config", "Detector", "VaeAnomalyError", "__version__", "load_config"]


def test_importing_the_package_loads_nothing_heavy():
    """``import vae_model`` alone runs no other module of the package."""
    script = """
import json
import vae_model
print(json.dumps(sorted(n for n in sys.modules if n.startswith("vae_model.") or n in BLOCKED)))
"""
    assert run(script, [*DRIVER_ONLY, "numpy", "pandas", "pyarrow"]) == []


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    """A misspelt public name fails as on any module."""
    with pytest.raises(AttributeError, match="module 'vae_model' has no attribute 'Detektor'"):
        _ = vae_model.Detektor
