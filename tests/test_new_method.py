"""The README's recipe for a new method, followed to the letter on a copy of the package."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = (
    "--clients 4 --public-people 6 --held-out-people 0 --rounds 2 --clients-per-round 2 --base-epochs 1 "
    "--workers 0 --hidden-size 16 --heads 2 --set synthetic.samples_per_person=12 --json"
).split()


def recipe() -> dict[str, str]:
    """Returns the files of the README's example, by path: code blocks whose first line names the file."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n# (fedpers/\S+\.py)\n(.*?)```", readme, flags=re.DOTALL)
    return dict(blocks)


def test_the_readmes_method_runs_by_adding_its_own_files_only(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fedpers", tmp_path / "fedpers", ignore=shutil.ignore_patterns("__pycache__"))
    files = recipe()
    assert {path.split("/")[1] for path in files} == {"clients", "experiments"}
    for path, code in files.items():
        assert not (tmp_path / path).exists()
        (tmp_path / path).write_text(code)
    name = Path(next(path for path in files if "experiments" in path)).stem.replace("_", "-")
    command = [sys.executable, "-m", "fedpers", "simulate", "--method", name, "--out", "run", *QUICK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["method"] == name


def test_the_readmes_methods_own_setting_is_a_flag_too(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fedpers", tmp_path / "fedpers", ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in recipe().items():
        (tmp_path / path).write_text(code)
    command = [sys.executable, "-m", "fedpers", "simulate", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=True)
    assert "--prior-weight" in done.stdout
