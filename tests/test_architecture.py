"""Imports run one way, and some things are imported nowhere. Read from the source, not run."""

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sparl

SOURCE = Path(sparl.__file__).parent

# From the bottom to the top: a folder, or a module that lies beside the folders, may import from
# itself and from what stands before it.
ORDER = (
    *(
        "errors",
        "validation",
        "plugins",
        "kernels",
        "topology",
        "layouts",
        "networks",
        "learner",
        "replay",
    ),
    *("agents", "methods", "engine", "envs", "config", "storage", "policy", "training"),
    *(
        "distributed",
        "interop",
        "linear_mdp",
        "exporters",
        "analysis",
        "launch",
        "sweeps",
        "api",
        "bench",
        "cli",
    ),
    "__main__",
)
LONGEST = 300
"""Lines of a source file."""
MOST = 30
"""Entries at the top level of the package."""


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


BELOW = re.compile(r"^\s*(?:from|import) sparl\.\w+\.\w+", re.MULTILINE)
"""An import of something below a public package."""

MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
COMPILED = {module_name(path) for path in SOURCE.rglob("*.pyi")}


def imported(name: str, path: Path) -> set[str]:
    """All modules that a file imports, wherever in it; `from a import b` counts as a.b if that
    is a module of sparl."""
    found = set()
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES.keys() | COMPILED else base)
    return found


IMPORTS = {name: imported(name, path) for name, path in MODULES.items()}


def folder(module: str) -> str:
    """`sparl.layouts.dense` -> `layouts`; `sparl.engine` -> `engine`."""
    return module.split(".")[1]


def place(module: str) -> int:
    return ORDER.index(folder(module))


# `sparl` itself is the user's door and may import all; what is inside does not go through it,
# but for the command line, which is a user too.
INSIDE = [name for name in MODULES if name != "sparl"]


def of_sparl(name: str) -> set[str]:
    return {module for module in IMPORTS[name] if module.split(".")[0] == "sparl"}


@pytest.mark.parametrize("name", INSIDE)
def test_imports_run_one_way(name):
    for module in of_sparl(name):
        if module == "sparl":
            assert folder(name) == "cli", f"{name} imports the package itself"
        else:
            assert place(module) <= place(name), f"{name} imports {module} from above it"


def test_every_folder_has_its_place():
    assert {folder(name) for name in INSIDE} == set(ORDER)


def test_the_package_is_seen_at_a_glance():
    entries = [path for path in SOURCE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST
    for path in [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.cpp"), *SOURCE.rglob("*.h")]:
        assert len(path.read_text().splitlines()) <= LONGEST, path


def test_wheels_leave_out_no_template():
    """They are without C++ sources, by their endings; a template's name ends with .in then."""
    sources = {p for ending in ("*.cpp", "*.h") for p in SOURCE.rglob(ending)}
    assert sources == {p for p in sources if p.parent == SOURCE / "kernels" / "cpp"}


def test_tests_go_through_public_packages():
    """A move of files inside a package must not cost its tests: two thirds of them import nothing
    below `sparl.PACKAGE`."""
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    below = [path.name for path in files if BELOW.search(path.read_text())]
    assert len(below) <= len(files) / 3, below


@pytest.mark.parametrize("one, other", [("agents", "methods"), ("methods", "agents")])
def test_agents_and_methods_do_not_import_each_other(one, other):
    for name in INSIDE:
        if folder(name) == one:
            assert not {m for m in of_sparl(name) if m != "sparl" and folder(m) == other}, name


def test_a_method_stands_alone_or_varies_one_other():
    """One file per paper: what several share is in `common`, and RigL is a few lines over SET."""
    varied = {}
    for name in INSIDE:
        if folder(name) == "methods" and not name.startswith("sparl.methods.common"):
            of_methods = {m for m in of_sparl(name) if m.startswith("sparl.methods.")}
            varied[name] = {m for m in of_methods if "common" not in m}
    del varied["sparl.methods"], varied["sparl.methods.registry"]
    assert {name: others for name, others in varied.items() if others} == {
        "sparl.methods.rigl": {"sparl.methods.set"},
        "sparl.methods.rlx2": {"sparl.methods.rigl"},
        "sparl.methods.iterative": {"sparl.methods.magnitude"},
    }


def test_kernels_import_nothing_of_sparl_but_kernels():
    for name in INSIDE:
        if folder(name) == "kernels":
            assert {folder(m) for m in of_sparl(name)} <= {"kernels"}, name


def test_no_two_modules_need_each_other():
    graph = {
        # A package's __init__ collects its modules; they may use what stands beside them.
        name: {m for m in of_sparl(name) if m in MODULES and m != "sparl" and m != name}
        for name in INSIDE
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {error.args[1]}")


def importers(*packages: str) -> dict[str, set[str]]:
    """Who imports one of these packages."""
    found = {name: {m for m in IMPORTS[name] if m.split(".")[0] in packages} for name in MODULES}
    return {name: modules for name, modules in found.items() if modules}


def test_nothing_is_pickled():
    """A checkpoint that someone sends must not be able to run code. Files of PyTorch and of
    VecNormalize are pickles: one module each reads them, by an unpickler that resolves names
    itself. What makes an environment is pickled from memory to memory, for the run's own actors."""
    readers = ("sparl.interop.tensors", "sparl.interop.vecnormalize")
    pickles = importers("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
    actors = ("sparl.distributed.actor", "sparl.distributed.actor_pool")
    expected = {name: {"pickle"} for name in readers}
    assert pickles == expected | {name: {"cloudpickle"} for name in actors}
    for reader in readers:
        nodes = list(ast.walk(ast.parse(MODULES[reader].read_text())))
        (unpickler,) = (
            node
            for node in nodes
            if isinstance(node, ast.ClassDef) and "pickle.Unpickler" in map(ast.unparse, node.bases)
        )
        assert "find_class" in {f.name for f in unpickler.body if isinstance(f, ast.FunctionDef)}
        # Of the module `pickle` nothing else is used, and nothing is super's.
        used = [node for node in nodes if isinstance(node, ast.Name) and node.id == "pickle"]
        assert len(used) == 1
        assert not any(isinstance(n, ast.ImportFrom) and n.module == "pickle" for n in nodes)
        assert not any(isinstance(n, ast.Name) and n.id == "super" for n in nodes)
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path


def test_one_console_prints():
    """rich would read users' paths and messages as its markup; `training.console` does not."""
    assert set(importers("rich")) >= {"sparl.training.console", "sparl.cli.tables"}
    consoles = {name for name, modules in IMPORTS.items() if "rich.console" in modules}
    assert consoles == {"sparl.training.console"}


def test_other_processes_are_read_as_utf8_whatever_the_locale():
    """Of files ruff sees to it, by its rule PLW1514."""
    for path in MODULES.values():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {node.arg for node in nodes if isinstance(node, ast.keyword)}
        assert not names & {"text", "universal_newlines"}, path


def test_pytorch_is_only_where_its_speed_is_compared():
    """In a process of its own, which has nothing else at its top."""
    peers = importers("torch", "torchvision", "tensorflow", "stable_baselines3", "sbx")
    assert set(peers) == {"sparl.bench.caller", "sparl.bench.contender"}
    for name in peers:
        top = ast.parse(MODULES[name].read_text()).body
        names = {node.module for node in top if isinstance(node, ast.ImportFrom)}
        names |= {a.name for node in top if isinstance(node, ast.Import) for a in node.names}
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_learning_knows_nothing_of_environments_and_layouts_nothing_of_learning():
    below_envs = {name for name in INSIDE if place(name) < ORDER.index("envs")}
    assert not below_envs & set(importers("gymnasium", "envpool"))
    below_learner = {name for name in INSIDE if place(name) < ORDER.index("learner")}
    assert below_learner and not below_learner & set(importers("optax"))
