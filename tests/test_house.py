"""The house rules of DESIGN.md, held by a machine."""

from __future__ import annotations

import ast
import operator
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelwright

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "modelwright"
FILES = sorted(SOURCE.rglob("*.py"))
CODE = sorted([*FILES, *(ROOT / "tests").rglob("*.py")])
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in CODE}

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
BIG_CLASSES = {
    "HttpConnection": "most are called by asyncio and by the parser, which name them",
    "Http2Connection": "asyncio calls six of them, the incoming half another six",
    "GrpcCall": "half of them are what the stream below calls",
    "Outbound": "one method a kind of frame that goes out or changes what may",
    "_Calendar": "one method a step of the date algorithm, each written to the graph once",
}
BLIND_EXCEPT = {
    "fit/trials.py": "libraries have no base of errors in common; the candidate goes, not the run",
    "ways_in/cli.py": "the process boundary of the command line",
    "ways_in/job_process.py": "the process boundary of a job",
    "serve/app.py": "the request handler: a fault answers 500 and the server goes on",
    "serve/http.py": "the last boundary of a request: without it a caller waits for ever",
    "serve/dispatch.py": "the request handler's task: whoever asked is told, whatever it was",
    "serve/runs.py": "a graph's fault is its version's, a request's fault its own",
    "serve/server.py": "the end of a worker process: nobody is above it",
    "serve/grpc_calls.py": "the request handler of gRPC: a fault answers INTERNAL",
    "serve/grpc_door.py": "the same for what is called back",
    "serve/journal.py": "a fault in the journal's thread must not end the journal",
    "serve/journal_process.py": "a fault in one file must not end the process that writes all",
    "serve/journal_store.py": "every kind of storage has errors of its own: all become OSError",
    "serve/label_desk.py": "a fault in its threads must not end them: whoever waits is told",
    "serve/batching.py": "a fault in one request of a batch must not cost the others their answer",
    "serve/loading.py": "a folder from elsewhere can be wrong in any way; the old version goes on",
    "serve/worker.py": "the loops beside the requests: after a fault they go on",
    "watch/loop.py": "a fault in one part, such as one odd file, must not blind the others",
    "watching.py": "the watcher's loop: whatever one look met, the next one is tried",
    "ways_in/mcp/calling.py": "the request handler of MCP: the server goes on",
    "watch/outbox.py": "somebody's own sender can fail in any way; the alert is tried again",
}
INNER_IMPORTS = {
    "core/spec_serve.py": "an optional extra, for journals that are kept elsewhere",
    "core/store.py": "fcntl is not there on Windows, where only `locked` needs it",
    "data/findings.py": "laziness: a booster takes a second to load, and init does without one",
    "release/approvals.py": "an optional extra, and laziness: a list of requests needs no MLflow",
    "release/carried_out.py": "laziness: what was not approved yet needs no MLflow to be looked at",
    "release/smoke.py": "resource is not there on Windows, where only the child needs it",
    "release/trust.py": "an optional extra, needed only where keys are configured",
    "serve/doors.py": "hundreds of lines that only those need who ask for explanations",
    "serve/from_spec.py": "laziness: MLflow takes seconds to load, and is not on every server",
    "watch/reference.py": "laziness: whoever trains without a watcher needs no pyarrow",
    "serve/worker.py": "an optional extra, loaded where a gRPC port is asked for",
    "serve/journal_files.py": "an optional extra, for who reads a journal",
    "serve/labels.py": "an optional extra, loaded by the first label",
    "serve/journal_store.py": "an optional extra, for journals that are kept elsewhere",
    "serve/tracing.py": "an optional extra, needed only where traces are switched on",
    "serve/bodies.py": "an optional extra, loaded by the first body that needs it",
    "serve/replies.py": "an optional extra, loaded by the first table that needs it",
    "retraining.py": "an optional extra, needed only where there is a journal",
    "watch/senders/apprise_sender.py": "an optional extra, loaded where alerts go through it",
    "ways_in/agents/clients.py": "an optional extra, without which there is no server to set up",
    "ways_in/cli.py": "laziness at a way in: --help must not load rich's tables",
    "ways_in/mcp/start.py": "an optional extra, loaded by the operation mcp alone",
    "__init__.py": "laziness at a way in: the public API resolves on first use",
}
NO_WORDS = re.compile(r"(^|_)(utils?|helpers?|common|manager|handler|v2|legacy)(_|$)")
LOADING_CODE = re.compile(
    r"\b(pickle|joblib|cloudpickle|dill|marshal|shelve|runpy|torch\.load|allow_pickle|onnx\.load)\b|"
    r"\b(yaml\.(unsafe_)?load|load_model|load_context)\(|(?<![\w.])(eval|exec)\("
)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def name_of(path: Path) -> str:
    base = SOURCE if path.is_relative_to(SOURCE) else ROOT
    return path.relative_to(base).as_posix()


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_sizes(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400 or name_of(path) in LONG_FILES
    for node in functions(TREES[path]):
        length = (node.end_lineno or 0) - node.lineno + 1
        assert length <= 60 or node.name in LONG_FUNCTIONS, f"{node.name} has {length} lines"
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(item, ast.FunctionDef) for item in node.body)
            assert methods <= 15 or node.name in BIG_CLASSES, f"{node.name} has {methods} methods"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_things_have_docstrings(path: Path) -> None:
    tree = TREES[path]
    assert ast.get_docstring(tree)
    for node in tree.body:
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"
        if public:
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def is_blind(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    caught = ast.unparse(node.type) if node.type else "everything"
    return caught in ("Exception", "BaseException", "everything")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_blind_except_and_no_hidden_imports(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if is_blind(node):
            assert name_of(path) in BLIND_EXCEPT, f"line {node.lineno}"
    if name_of(path) not in INNER_IMPORTS:
        for function in functions(TREES[path]):
            for node in ast.walk(function):
                inner = isinstance(node, (ast.Import, ast.ImportFrom))
                assert not inner, f"{function.name} imports at line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_names_say_what_is_inside(path: Path) -> None:
    assert not NO_WORDS.search(path.stem)


def test_every_exception_to_the_rules_is_still_needed() -> None:
    for name in (*LONG_FILES, *BLIND_EXCEPT, *INNER_IMPORTS):
        assert (SOURCE / name).exists()
    for name in BLIND_EXCEPT:
        assert any(is_blind(node) for node in ast.walk(TREES[SOURCE / name])), name
    classes = {n.name for t in TREES.values() for n in ast.walk(t) if isinstance(n, ast.ClassDef)}
    assert set(BIG_CLASSES) <= classes


def test_packages_hold_only_a_docstring() -> None:
    for path in FILES:
        if path.name == "__init__.py" and path.parent != SOURCE:
            assert len(TREES[path].body) == 1, path


def test_only_release_breaks_the_seal() -> None:
    callers = [
        name_of(path)
        for path in FILES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "open"
        and "holdout" in ast.unparse(node.func.value)
    ]
    assert callers == ["release/release.py"]
    private = [name_of(p) for p in FILES if re.search(r"\._table\b", p.read_text())]
    assert private == ["data/holdout.py"]


def test_nothing_that_loads_can_run_code() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found = LOADING_CODE.search(text)
        assert not found, f"{path}: {found and found[0]}"
        assert "mlflow.pyfunc" not in re.sub(r'""".*?"""|#.*', "", text, flags=re.S)


def test_public_list_is_true() -> None:
    for name in modelwright.__all__:
        found = getattr(modelwright, name)
        assert found.__doc__, name
    assert modelwright.__all__ == sorted(modelwright.__all__, key=lambda n: (n.lower() == n, n))
    assert set(modelwright.__all__) <= set(dir(modelwright))


def test_unknown_public_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        operator.attrgetter("nothing")(modelwright)


def test_the_tests_have_the_tree_of_the_source() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        inside = path.relative_to(ROOT / "tests")
        if len(inside.parts) == 1:
            continue
        module = SOURCE / inside.parent / inside.name.removeprefix("test_")
        assert module.exists(), f"{inside} tests nothing that exists"


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import modelwright, sys; print(sorted({'numpy', 'polars', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
