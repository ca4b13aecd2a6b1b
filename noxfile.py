"""Sessions: ``nox`` runs those that gate; ``nox -s gpu`` needs a CUDA device."""

import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "properties", "prove", "tests"]


def install(session: nox.Session, *packages: str) -> None:
    """Install packages under the pins that CI uses."""
    session.install("-c", "constraints.txt", *packages)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "-e", ".[mutants,docs]")
    session.run("mypy", "--strict")


@nox.session
def properties(session: nox.Session) -> None:
    """Hold the implementation to the specification, and record the evidence in spec/trace.json."""
    install(session, "-e", ".[dev]")
    # What is told to run may be a part, which is no evidence for the whole.
    arguments = session.posargs or ["properties", "--record"]
    session.run("pytest", "-n", "auto", *arguments, env={"OMP_NUM_THREADS": "1"})


@nox.session
def prove(session: nox.Session) -> None:
    """Prove clauses for all inputs, with z3, and record it in spec/trace.json."""
    install(session, "-e", ".[dev]")
    arguments = session.posargs or ["properties/proofs", "--record"]
    session.run("pytest", "-o", "python_files=prove_*.py", *arguments)


@nox.session
def tests(session: nox.Session) -> None:
    """Run everything that shows the thing to work: tests, docstring examples, properties."""
    install(session, "-e", ".[dev]")
    coverage = ["--cov=zeroproof", "--cov-branch", "--cov-report=term-missing"]
    arguments = ["-n", "auto", *coverage, *session.posargs]
    session.run("pytest", *arguments, env={"OMP_NUM_THREADS": "1"})


@nox.session
def conformance(session: nox.Session) -> None:
    """Hold a subject to the specification, clause by clause; see ``-- --help``."""
    install(session, "-e", ".[conformance]")
    arguments = session.posargs or ["--subject", "zeroproof"]
    session.run("zeroproof-conformance", *arguments, env={"OMP_NUM_THREADS": "1"})


@nox.session
def reports(session: nox.Session) -> None:
    """Make anew the reports that the book shows of its subjects; some ten minutes."""
    install(session, "-e", ".[conformance]")
    for report in sorted(Path("docs/reports").glob("*.json")):
        arguments = ["--subject", report.stem, "--report", str(report)]
        environment = {"OMP_NUM_THREADS": "1"}
        # 1 says that something fails, which is what the reports are for.
        session.run("zeroproof-conformance", *arguments, env=environment, success_codes=[0, 1])


@nox.session
def docs(session: nox.Session) -> None:
    """Build the book in build/book, from clauses, evidence, docstrings and the guide."""
    install(session, "-e", ".[dev,docs]")
    arguments = ["-a", "-E", "-n", "-W", "--keep-going", "-q", "docs", "build/book"]
    session.run("python", "-m", "sphinx", *arguments, env={"OMP_NUM_THREADS": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure ratios, and write them to build/bench; ten minutes, on a machine left alone.

    For a GPU run ``python -m benchmarks`` instead, with a torch that knows it.
    """
    install(session, "-e", ".")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Try the tests on mutants of the package; it takes hours, and what is cut short goes on.

    Takes parts or globs of names of files, else all; --listed tries the listed survivors too.
    """
    install(session, "-e", ".[mutants]")
    # More threads of torch than one would not survive the forks.
    session.run("python", "-m", "mutants", *session.posargs, env={"OMP_NUM_THREADS": "1"})


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
