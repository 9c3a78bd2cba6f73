"""The rules of the house, read from the syntax tree of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("train", "serving", "loadtest", "analysis")
PACKAGES = ("contract", *STAGES)
COMMAND_LINE = [ROOT / "cli.py", *sorted((ROOT / "commands").rglob("*.py"))]
SOURCES = [*sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")), *COMMAND_LINE]

# loadtest/compute measures runtimes without HTTP and needs nothing else of the serving stage.
ALLOWED_CROSSINGS = {
    (f"loadtest/compute/{name}.py", place)
    for name, place in (
        ("energy", "serving.inference.devices"),
        ("limits", "serving.runtimes"),
        ("link", "serving.runtimes"),
        ("planning", "serving.inference.devices"),
        ("planning", "serving.runtimes"),
        ("transfers", "serving.inference.devices"),
        ("worker", "serving.runtimes"),
        ("worker", "serving.inference.devices"),
    )
}
# The mistakes are made with the frameworks' own networks, built as training builds them, not with exported artifacts.
ALLOWED_CROSSINGS |= {
    ("loadtest/mistakes/pytorch.py", "train.frameworks.pytorch"),
    ("loadtest/mistakes/tensorflow.py", "train.frameworks.keras"),
    ("loadtest/mistakes/jax.py", "train.frameworks.flax"),
}
LARGEST_TRACKED_BYTES = 3_000_000  # a checkpoint has 2.2 MB
CONTRACT_PACKAGES = {"contract", "numpy", "safetensors", "msgspec"} | sys.stdlib_module_names

# Heavy packages, and the files that are about them: only there may they be imported at module level.
HOMES = {
    "torch": {
        "loadtest/mistakes/pytorch.py",
        "train/frameworks/pytorch.py",
        "serving/runtimes/pytorch.py",
        "serving/runtimes/pytorch_cuda.py",
        "serving/runtimes/pytorch_tuned.py",
        "serving/runtimes/pytorch_winograd.py",
    },
    "tensorflow": {
        "loadtest/mistakes/tensorflow.py",
        "train/frameworks/keras.py",
        "serving/runtimes/tensorflow.py",
        "serving/runtimes/tensorflow_tuned.py",
    },
    "keras": {"loadtest/mistakes/tensorflow.py", "train/frameworks/keras.py"},
    "jax": {
        "loadtest/mistakes/jax.py",
        "train/frameworks/flax.py",
        "serving/runtimes/jax.py",
        "serving/runtimes/jax_tuned.py",
    },
    "flax": {"loadtest/mistakes/jax.py", "train/frameworks/flax.py"},
    "optax": {"train/frameworks/flax.py"},
    "onnx": set(),
    "onnxruntime": {"serving/runtimes/onnx.py"},
    "openvino": {"serving/runtimes/openvino.py"},
    "ai_edge_litert": {"serving/runtimes/tensorflow_lite.py"},
    "locust": {"loadtest/locustfile.py", "loadtest/shape.py"},
    "altair": {
        "analysis/mistakes/chart.py",
        "analysis/compute/plots.py",
        "analysis/load/plots.py",
        "analysis/plots.py",
        "analysis/training/curves.py",
    },
    "bentoml": {"serving/peers/textbook.py", "serving/service.py"},
    "medmnist": set(),
}

# Files that another program loads into a process of its own, and how each may end that process.
EXITS = {
    "loadtest/locustfile.py": {"sys.exit"},  # locust -f: a refusal in one line, before anything is sent
    "loadtest/shape.py": {"sys.exit"},  # the same
    "serving/process/supervision.py": {"os._exit"},  # an exit handler of bentoml serve: the status of a failed worker
}

Import = tuple[str, int]  # dotted name, line


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(node: ast.AST, *, module_level: bool) -> Iterator[Import]:
    """Every import below ``node``; with ``module_level`` only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: imports are absolute"
            # ``from a import b``: b may be a module itself.
            yield from ((f"{child.module}.{alias.name}", child.lineno) for alias in child.names)
        elif module_level and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(child)):
            continue
        else:
            yield from imports(child, module_level=module_level)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def top(dotted: str) -> str:
    return dotted.split(".")[0]


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def has_main_guard(path: Path) -> bool:
    return any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in tree_of(path).body
    )


def test_there_is_something_to_check() -> None:
    assert all(any(name_of(path).startswith(f"{package}/") for path in SOURCES) for package in PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_stages_import_the_contract_and_not_each_other(package: str) -> None:
    foreign = {*STAGES, "cli", "commands"} - {package}
    crossings = [
        f"{name_of(path)}:{line} imports {dotted}"
        for path in (ROOT / package).rglob("*.py")
        for dotted, line in imports(tree_of(path), module_level=False)
        if top(dotted) in foreign
        and not any(
            name_of(path) == place and f"{dotted}.".startswith(f"{allowed}.") for place, allowed in ALLOWED_CROSSINGS
        )
    ]
    assert crossings == []


def test_the_contract_needs_the_standard_library_numpy_safetensors_and_msgspec_only() -> None:
    foreign = [
        f"{name_of(path)}:{line} imports {dotted}"
        for path in (ROOT / "contract").rglob("*.py")
        for dotted, line in imports(tree_of(path), module_level=True)
        if top(dotted) not in CONTRACT_PACKAGES
    ]
    assert foreign == []


def test_the_contract_names_other_packages_for_type_checkers_only() -> None:
    # As above, but inside functions too: an import that runs late is still a dependency.
    foreign = {
        top(dotted)
        for path in (ROOT / "contract").rglob("*.py")
        for dotted, _ in imports(tree_of(path), module_level=False)
        if top(dotted) not in CONTRACT_PACKAGES
    }
    assert foreign <= {"PIL"}


@pytest.mark.parametrize("package", HOMES)
def test_a_heavy_package_is_imported_at_module_level_only_where_it_is_at_home(package: str) -> None:
    strays = [
        f"{name_of(path)}:{line}"
        for path in SOURCES
        for dotted, line in imports(tree_of(path), module_level=True)
        if top(dotted) == package and name_of(path) not in HOMES[package]
    ]
    assert strays == []


def test_the_linter_bans_the_same_packages() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]) == set(HOMES)


def test_importing_the_command_line_loads_no_heavy_package() -> None:
    code = f"import sys, cli; print(sorted({set(HOMES)!r} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert child.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
@pytest.mark.acceptance("S1")
def test_nothing_that_is_loaded_can_run_code(path: Path) -> None:
    assert not {top(dotted) for dotted, _ in imports(tree_of(path), module_level=False)} & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "marshal",
        "shelve",
    }
    for name, call in calls(path):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        where = f"{name_of(path)}:{call.lineno}"
        if name in {"torch.load", "load_torch"}:
            assert keywords.get("weights_only") == "True", f"{where}: torch.load without weights_only=True"
        if name in {"np.load", "numpy.load"}:
            assert keywords.get("allow_pickle", "False") == "False", f"{where}: np.load may unpickle"
        assert name not in {"eval", "exec"}, where


@pytest.mark.parametrize("path", [path for path in SOURCES if path not in COMMAND_LINE], ids=name_of)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    """A module that is run with ``python -m`` talks to its parent process; it may write and exit as a program does."""
    allowed = {"sys.exit", "sys.stdout.write"} if has_main_guard(path) else EXITS.get(name_of(path), set())
    forbidden = {"print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write", "sys.stderr.write"} - allowed
    found = [f"{name_of(path)}:{call.lineno} {name}" for name, call in calls(path) if name in forbidden]
    raised = [
        f"{name_of(path)}:{node.lineno} SystemExit"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc)
    ]
    assert found == []
    assert raised == [] or has_main_guard(path)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_failure_is_swallowed(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            where = f"{name_of(path)}:{node.lineno}"
            assert node.type is not None, f"{where}: bare except"
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not silent, f"{where}: except with pass alone; contextlib.suppress names what is expected"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_stops_at_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_nothing_large_and_no_archive_lies_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert tracked
    too_large = [name_of(path) for path in tracked if path.stat().st_size > LARGEST_TRACKED_BYTES]
    archives = [name_of(path) for path in tracked if path.suffix in {".zip", ".tar", ".gz", ".whl", ".npz"}]
    assert (too_large, archives) == ([], [])
