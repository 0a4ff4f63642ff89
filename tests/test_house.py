"""The arrows between the folders, what the wheel holds, and what an import costs."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {  # apart from itself, `_util` and the errors
    "_util": set(),
    "envs": set(),
    "agents": {"envs"},
    "rewards": {"envs"},
    "testing": {"envs", "agents", "rewards"},
    "evaluation": {"envs", "agents", "rewards"},
    "training": {"envs", "agents", "rewards", "evaluation"},
    "interop": {"envs", "agents", "rewards", "evaluation", "training"},  # one file a framework, each an extra
    "world": {"envs", "agents", "rewards", "evaluation", "training"},  # the toy: registries alone name it
    "benchmarks": {"envs", "agents", "rewards", "evaluation", "training", "testing", "fleet"},
    "studies": {"envs", "agents", "rewards", "evaluation", "training", "world", "benchmarks"},
    "fleet": {"envs", "agents", "rewards", "evaluation"},
    "apps": {"envs", "agents", "rewards", "evaluation", "training", "fleet", "benchmarks", "testing"},
}
HEAVY = {
    "torch",
    "transformers",
    "openai",
    "sentence_transformers",
    "pyserini",
    "datasets",
    "httpx",
    "aiohttp",
    "trl",
    "ray",
}


TRAINERS = {
    ROOT / "training/grpo" / f"{name}.py"
    for name in (
        "async_trainer",
        "callbacks",
        "config",
        "loss",
        "policy_servers",
        "rollout_worker",
        "sampler",
        "trainer",
        "without_gpu",
    )
}  # their classes inherit; loaded by a run


FRAMEWORKS = {
    path
    for path in (ROOT / "interop").glob("*.py")
    if "_" not in path.stem and path.stem not in ("driver", "estimators")
}  # imported by a user of that framework alone; its further parts are named after it, as `inspect_log`
WITH_TORCH = {ROOT / "interop/skyrl_train.py", ROOT / "interop/verl_estimators.py"}  # trainers that have it at hand


def library_files() -> list[Path]:
    return sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Absolute dotted names; relative ones are resolved from the root of the package."""
    tree = ast.parse(path.read_text("utf-8"))
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = ".".join(("", *base, *(node.module or "").split("."))).rstrip(".")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}  # a name may be a module
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("path", library_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_run_one_way(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    own = {name.split(".")[1] for name in imports(path) if name.startswith(".") and name != "."}

    assert own & set(MAY_IMPORT) <= MAY_IMPORT[folder] | {folder, "_util"}
    assert not {name for name in imports(path) if name.split(".")[0] == "profilegym"}, "import siblings relatively"


def test_no_circle_of_imports() -> None:
    """Counting those at the top of modules: what is imported in a function is there once it is called."""
    modules = {".".join(("", *path.relative_to(ROOT).with_suffix("").parts)): path for path in library_files()}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    ways = {name: imports(path, top_level_only=True) & set(modules) - {name} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " imports ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in ways[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in ways:
        visit(name, ())


@pytest.mark.parametrize(
    "path",
    sorted(set(library_files()) - TRAINERS - FRAMEWORKS - WITH_TORCH),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_heavy_things_are_imported_where_they_are_used(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY


@pytest.mark.parametrize("path", sorted(FRAMEWORKS), ids=lambda path: path.stem)
def test_a_framework_is_one_thin_file_that_nothing_else_imports(path: Path) -> None:
    module = f".interop.{path.stem}"

    assert len(path.read_text("utf-8").splitlines()) <= 120
    assert not [str(other) for other in library_files() if other != path and module in imports(other)]


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(tmp_path: Path) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    files = [name for name in listed if (ROOT / name).is_file()]
    for name in files:  # built in a copy, as a build leaves files behind that a later one would pick up
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    shipped = set(MAY_IMPORT) - {"studies"}
    library = [name for name in files if name.startswith(tuple(f"{folder}/" for folder in shipped))]
    at_the_root = [name for name in files if "/" not in name and name.endswith((".py", "py.typed"))]
    assert held == {f"profilegym/{name}" for name in library + at_the_root}


def seconds(*codes: str) -> list[float]:
    """Of each the quickest of several fresh interpreters, in turn, as other programs may be busy."""
    clock = "import sys, time; start = time.perf_counter(); {}; sys.stderr.write(str(time.perf_counter() - start))"
    commands = [[sys.executable, "-c", clock.format(code)] for code in codes]
    rounds = [
        [subprocess.run(c, check=True, capture_output=True, text=True).stderr for c in commands] for _ in range(7)
    ]
    return [min(map(float, times)) for times in zip(*rounds, strict=True)]


@pytest.mark.alone
@pytest.mark.slow
def test_the_import_takes_little_more_than_gymnasiums() -> None:
    ours, gymnasiums = seconds("import profilegym", "import gymnasium")

    assert ours < 1.5 * gymnasiums


@pytest.mark.alone
@pytest.mark.slow
def test_the_help_takes_little_more_than_gymnasium_and_any_help_by_typer() -> None:
    bare_app = "import gymnasium, typer; app = typer.Typer(); app.command()(lambda: None)"

    ours, bare = seconds(
        "from profilegym.apps.cli import app; app(['--help'], standalone_mode=False)",
        f"{bare_app}; app(['--help'], standalone_mode=False)",
    )

    assert ours < 1.5 * bare


@pytest.mark.slow
def test_the_import_loads_neither_torch_nor_a_network_client() -> None:
    code = "import sys, profilegym; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    names = [*HEAVY, "requests", "http.client", "urllib.request", "scipy"]

    loaded = subprocess.run([sys.executable, "-c", code, *names], check=True, capture_output=True, text=True).stdout

    assert loaded.strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import gymnasium, profilegym",
        "import profilegym, gymnasium",
        "import importlib.util, profilegym; importlib.util.find_spec('gymnasium'); import gymnasium",
        "import gymnasium, profilegym, importlib; importlib.reload(profilegym)",
    ],
)
def test_the_environment_is_known_to_gymnasium_whatever_was_imported_first(imports: str) -> None:
    code = f"{imports}; print(gymnasium.make('profilegym/ProfileQA-v0', data='world:users=10').spec.id)"

    made = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)

    assert made.stdout.strip() == "profilegym/ProfileQA-v0"


@pytest.mark.slow
def test_gymnasium_imports_the_package_where_the_id_names_it() -> None:
    code = "import gymnasium; gymnasium.make('profilegym:profilegym/ProfileQA-v0', data='world:users=10')"

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_public_name_loads() -> None:
    import profilegym

    assert all(getattr(profilegym, name) is not None for name in profilegym.__all__)
    assert set(profilegym.__all__) <= set(dir(profilegym))
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = profilegym.nothing
