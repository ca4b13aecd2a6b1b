"""The README's script runs as printed, and its commands are the ones that CI runs."""

from __future__ import annotations

import contextlib
import io
import re
from importlib import metadata, resources
from pathlib import Path

import torch

import zeroproof

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_script_runs_as_printed_and_finds_the_pole() -> None:
    (script,) = blocks("python")
    code = [
        line for line in script.splitlines() if line and not line.startswith(("import", "from"))
    ]
    assert len(code) <= 15
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(script, "README.md", "exec"), {})
    value = torch.tensor([float(v) for v in shown.getvalue().strip("[]\n").split(",")])
    assert value[1].isnan()
    assert torch.allclose(value[[0, 2]], torch.tensor([2.0, -4.0]), rtol=0.1)


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name, end in (("train", "zeroproof train"), ("test", "nox -s tests")):
        (command,) = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)\n```", README)
        assert command.startswith("python3 -m venv")
        assert command.endswith(end)
        assert f"readme_command {name}" in ci


def test_the_package_ships_its_data_and_its_types() -> None:
    files = resources.files(zeroproof)
    assert (files / "py.typed").is_file()
    text = (files / "data" / "moonshot.csv").read_text(encoding="utf-8")
    assert text.startswith("id,log10_ic50_uM,")
    assert metadata.version("zeroproof-scm") == zeroproof.__version__


def test_nothing_in_the_package_sets_threads_or_determinism() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "zeroproof").rglob("*.py"))
    for call in ("set_num_threads", "use_deterministic_algorithms", "manual_seed_all"):
        assert call not in source


def test_the_package_does_not_import_the_specification() -> None:
    for path in (ROOT / "zeroproof").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) spec\b", path.read_text(encoding="utf-8"), re.M)
    for path in (ROOT / "spec").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(from|import) (torch|zeroproof)\b", text, re.M)
