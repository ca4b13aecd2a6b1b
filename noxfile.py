"""Sessions: ``nox`` runs those that gate a change; ``nox --list`` shows all.

All but ``lint`` and ``gpu`` share the environment that ``dev`` installs; ``nox -R`` skips that.
"""

import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
# The latter read what the properties record.
nox.options.sessions = ["lint", "types", "tests", "properties", "third_party", "tooling", "docs"]

shared = nox.session(venv_backend="none", requires=["dev"])
scripts = Path()


@nox.session
def dev(session: nox.Session) -> None:
    """Install all that the other sessions need, under the pins that CI uses, in .nox/dev."""
    global scripts
    session.install("-c", "constraints.txt", "-e", ".[mutants,docs]")
    scripts = Path(session.bin).absolute()


def run(
    session: nox.Session, command: str, *arguments: str, success: tuple[int, ...] = (0,)
) -> None:
    """Run a command of the shared environment; with one thread, as tests run in parallel."""
    environment = {"OMP_NUM_THREADS": "1"}
    session.run(str(scripts / command), *arguments, env=environment, success_codes=success)


def run_tests(session: nox.Session, *default: str) -> None:
    """Run tests in parallel: those that the command line names, or these."""
    run(session, "pytest", "-n", "auto", *(session.posargs or default))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@shared
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    run(session, "mypy", "--strict")


@shared
def tests(session: nox.Session) -> None:
    """Run the tests of the package, and the examples in its docstrings.

    With ``-- --cov`` it also measures which lines and branches they run.
    """
    run_tests(session)


@shared
def properties(session: nox.Session) -> None:
    """Hold the package to the specification, and record the evidence in spec/trace.json.

    Part of it are faults that each claim catches, and proofs by z3.
    """
    run_tests(session, "properties", "--record")


@shared
def third_party(session: nox.Session) -> None:
    """Show what clauses find in other people's packages, which are downloaded."""
    run_tests(session, "tests/third_party")


@shared
def tooling(session: nox.Session) -> None:
    """Test what surrounds the package: specification, conformance command, book, benchmarks."""
    run_tests(session, "tests/tooling")


@shared
def conformance(session: nox.Session) -> None:
    """Hold a subject to the specification, clause by clause; see ``-- --help``."""
    run(session, "zeroproof-conformance", *(session.posargs or ["--subject", "zeroproof"]))


@shared
def reports(session: nox.Session) -> None:
    """Write the reports that the book shows of its subjects; some ten minutes."""
    for report in sorted(Path("docs/reports").glob("*.json")):
        arguments = ["--subject", report.stem, "--report", str(report)]
        if report.stem.startswith("zeroproofml"):  # in another process, input by input
            arguments += ["--examples", "10", "--no-exhaustive"]
        # 1 says that something fails, which is what the reports are for.
        run(session, "zeroproof-conformance", *arguments, success=(0, 1))


@shared
def docs(session: nox.Session) -> None:
    """Build the book in build/book, from clauses, evidence, docstrings and the guide."""
    # One process hands out what two write.
    options = ["-a", "-E", "-n", "-W", "--keep-going", "-q", "-j", "3"]
    run(session, "python", "-m", "sphinx", *options, "docs", "build/book")


@shared
def bench(session: nox.Session) -> None:
    """Measure ratios, and write them to build/bench; ten minutes, on a machine left alone.

    For a GPU run ``python -m benchmarks`` instead, with a torch that knows it.
    """
    session.run(str(scripts / "python"), "-m", "benchmarks", *session.posargs)


@shared
def learning(session: nox.Session) -> None:
    """Measure what is learned, beside what others use, and write it to build/learning.

    ``-- --out docs/learning`` writes what the book shows; with ``--only rational --keep`` it
    measures the rational fits again, and keeps the other rows.
    """
    run(session, "python", "-m", "learning", *session.posargs)


@shared
def mutants(session: nox.Session) -> None:
    """Try the tests on mutants of the package; hours, and an interrupted run can be continued.

    Takes parts or globs of names of files, else all; see ``-- --help``.
    """
    # More threads of torch than one would not survive the forks.
    run(session, "python", "-m", "mutants", *session.posargs)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Run the tests that need CUDA; skip where there is none.

    Uses the Python that runs nox: its torch, unlike CI's, may know the machine's GPU.
    """
    probe = "import torch; print(torch.cuda.is_available())"
    found = session.run(sys.executable, "-c", probe, silent=True, success_codes=[0, 1], log=False)
    if str(found).strip() != "True":
        session.skip("torch finds no CUDA device beside nox; nothing was tested")
    session.run(sys.executable, "-m", "pytest", "-m", "gpu", *session.posargs)
