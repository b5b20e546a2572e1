"""Who may import whom: the package's parts in order, read from the import statements themselves."""

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fedpers"

# Each part may import those in the rows above its own; parts in one row never import each other.
ORDER = (
    ("errors",),
    ("files", "lists", "seeds", "settings"),
    ("data",),
    ("prompting",),
    ("models",),
    ("dp",),
    ("training",),
    ("records",),
    ("method",),
    ("clients", "strategies"),
    ("evaluation",),
    ("privacy",),
    ("engine",),
    ("report", "runs"),
    ("simulation",),
    ("comparison",),
    ("experiments",),
    ("audit", "modules", "study"),
    ("recording",),
    ("tradeoff",),
    ("flower_app",),
    ("stock",),
    ("verification",),
    ("commands", "flags", "benchmarks"),
    ("cli",),
    ("__main__",),
)
ROWS = {part: row for row, parts in enumerate(ORDER) for part in parts}

# Which modules may know a library.
KNOWERS = {
    "ray": ("fedpers.engine",),
    "flwr": (
        "fedpers.engine",
        "fedpers.strategies",
        "fedpers.records",
        "fedpers.method",
        "fedpers.flower_app",
        "fedpers.stock",
        "fedpers.experiments.benchmarks",
    ),
    "transformers": (
        "fedpers.models",
        "fedpers.training",
        "fedpers.clients.user_identifier",
        "fedpers.experiments.benchmarks",
    ),
    "peft": ("fedpers.models.adapters", "fedpers.experiments.benchmarks"),
    "tokenizers": ("fedpers.models", "fedpers.training", "fedpers.clients.user_identifier"),
    "bm25s": ("fedpers.prompting",),
    "rouge_score": ("fedpers.evaluation",),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
del MODULES["fedpers"]


def imported(source: str, package: str) -> Iterator[str]:
    """Gives the dotted names that a source imports anywhere, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    if module.startswith("fedpers.experiments.benchmarks"):  # it looks at all the others from outside
        return "benchmarks"
    return module.split(".")[1]


def upward(module: str, source: str, package: str) -> list[str]:
    """Returns the imports of a module that don't point down the order."""
    own = part_of(module)
    ours = [name for name in imported(source, package) if name.startswith("fedpers.")]
    return [
        name
        for name in ours
        if part_of(name) in ROWS and part_of(name) != own and ROWS[part_of(name)] >= ROWS[own]
    ]


def knows(module: str, source: str, package: str, library: str) -> bool:
    """Tells whether a module imports a library although it isn't among those that may."""
    if any(f"{module}.".startswith(f"{allowed}.") for allowed in KNOWERS[library]):
        return False
    return any(name.split(".")[0] == library for name in imported(source, package))


def read(module: str) -> tuple[str, str]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return path.read_text(encoding="utf-8"), package


def test_every_module_has_a_place_in_the_order() -> None:
    assert {part_of(module) for module in MODULES} <= ROWS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_the_order(module: str) -> None:
    assert upward(module, *read(module)) == []


@pytest.mark.parametrize("library", KNOWERS)
def test_a_library_is_imported_only_where_it_may_be_known(library: str) -> None:
    assert [module for module in MODULES if knows(module, *read(module), library)] == []


@pytest.mark.parametrize("library", KNOWERS)
def test_a_library_is_imported_somewhere_so_the_check_is_not_empty(library: str) -> None:
    users = [module for module in MODULES if library in {n.split(".")[0] for n in imported(*read(module))}]
    assert users


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("from fedpers.engine import Crew", "fedpers.engine.Crew"),
        ("import fedpers.engine.crew", "fedpers.engine.crew"),
        ("from fedpers import simulation", "fedpers.simulation"),
        ("from ..engine import Crew", "fedpers.engine.Crew"),
        ("def late():\n    from fedpers.cli import main", "fedpers.cli.main"),
        ("if TYPE_CHECKING:\n    from fedpers.models import Model", "fedpers.models.Model"),
    ],
)
def test_an_upward_import_is_found_in_every_form(statement: str, found: str) -> None:
    assert upward("fedpers.data.samples", statement, "fedpers.data") == [found]


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("clients.plain", "strategies"),
        ("strategies.flower", "clients"),
        ("models.loading", "training"),
        ("runs", "simulation"),
        ("modules", "audit"),
        ("prompting.prompts", "models"),
    ],
)
def test_neither_peers_nor_higher_parts_may_be_imported(module: str, other: str) -> None:
    source = f"from fedpers.{other} import anything"
    assert upward(f"fedpers.{module}", source, "fedpers") == [f"fedpers.{other}.anything"]


@pytest.mark.parametrize(
    "statement", ["from fedpers.data.sources import read", "from fedpers import errors", "import torch"]
)
def test_imports_of_the_own_part_of_lower_ones_and_of_libraries_are_allowed(statement: str) -> None:
    assert upward("fedpers.data.population", statement, "fedpers.data") == []


def trains_past_the_guard(source: str, package: str) -> list[str]:
    """Returns the imports by which a client could train without `Shared.fit`, which hides samples."""
    open_ = ("fit", "fit_devices", "fit_epoch", "stack", "losses", "private_steps")
    return [
        name
        for name in imported(source, package)
        if name.startswith("fedpers.training.") and set(name.split(".")[2:]) & set(open_)
    ]


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) == "clients"])
def test_clients_train_through_shared_fit_alone(module: str) -> None:
    assert trains_past_the_guard(*read(module)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "from fedpers.training import fit_devices",
        "from fedpers.training.fit import Memory",
        "import fedpers.training.stack",
    ],
)
def test_training_past_shared_fit_is_found_in_every_form(statement: str) -> None:
    assert trains_past_the_guard(statement, "fedpers.clients")


def test_personal_modules_are_for_commands_and_their_recording_alone() -> None:
    users = [module for module in MODULES if "fedpers.modules" in imported(*read(module))]
    assert users == ["fedpers.commands", "fedpers.recording"]


def test_a_library_in_the_wrong_place_is_found() -> None:
    assert knows("fedpers.simulation", "import ray.util", "fedpers", "ray")


def test_a_place_is_a_whole_name_and_no_prefix() -> None:
    assert knows("fedpers.methods", "import flwr", "fedpers", "flwr")
