"""Typed clients made from a model's manifest: one Python file, or one TypeScript file.

The rows are typed with the model's own columns and levels, so that an editor and a type checker
find a wrong name before the server does. Neither needs a library.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from modelwright.core.records import Manifest
from modelwright.core.schema import Column, Schema
from modelwright.core.version import __version__
from modelwright.serve.protocol import example_in_json

LANGUAGES = {"python": "py", "typescript": "ts"}
"""Language -> ending of its file."""
_TEMPLATES = Path(__file__).parent / "client_templates"
MOST_LEVELS = 200
"""Levels up to which a label has a type of its own."""
MOST_WANTED = 50
"""The same of a column whose levels the spec's `expect:` names: no other is taken."""


def client(manifest: Manifest, language: str, *, name: str = "") -> tuple[str, str]:
    """The file's name and text.

    Args:
        manifest: of the model.
        language: a key of `LANGUAGES`.
        name: what the model is served under; default the manifest's.

    Example:
        >>> file_name("income-2", "python"), file_name("3d", "typescript")
        ('income_2_client.py', 'm_3d_client.ts')
    """
    served = name or manifest.model
    write = _python if language == "python" else _typescript
    return file_name(served, language), write(manifest, served)


def file_name(model: str, language: str) -> str:
    """A name that can be imported."""
    stem = re.sub(r"\W", "_", model, flags=re.ASCII).lower()
    stem = f"m_{stem}" if stem[:1].isdigit() else stem
    return f"{stem}_client.{LANGUAGES[language]}"


def _filled(template: str, **parts: str) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    parts["version"] = __version__
    return re.sub(r"__([A-Z_]+)__", lambda found: parts[found[1].lower()], text)


_PYTHON = {
    "number": "float", "category": "str", "boolean": "bool", "datetime": "str",
    "list": "list[str]",
}  # fmt: skip
_TYPESCRIPT = {
    "number": "number", "category": "string", "boolean": "boolean", "datetime": "string",
    "list": "string[]",
}  # fmt: skip


def _python(manifest: Manifest, name: str) -> str:
    schema = manifest.schema
    rows = []
    for column in schema.features:
        wanted = ", ".join(map(repr, _wanted(column, manifest)))
        kind = f"Literal[{wanted}]" if wanted else _PYTHON[column.kind]
        kind += "" if _is_a_must(column) else " | None"
        kind = f"NotRequired[{kind}]" if column.nullable else kind
        rows.append(f"        {_quoted(column.name)}: {kind},  # {_about(column)}")
    answer = ['        "prediction": Label,']
    answer += [f"        {_quoted('p_' + level)}: float," for level in schema.target.levels]
    answer += [f'        "{end}": float,' for end in _ends(schema)]
    example = _example(manifest)
    return _filled(
        "python.txt",
        model=_quoted(name),
        predicts=_predicts(schema),
        label=_python_label(schema),
        row="\n".join(rows),
        answer="\n".join(answer),
        example=_python_literal(example),
    )


def _python_label(schema: Schema) -> str:
    target = schema.target
    if not target.levels:
        return "float"
    if len(target.levels) > MOST_LEVELS:
        return {"string": "str", "integer": "int", "boolean": "bool"}[target.label_type]
    return f"Literal[{', '.join(repr(target.label(level)) for level in target.levels)}]"


def _python_literal(example: dict[str, object]) -> str:
    lines = [f"    {_quoted(name)}: {value!r}," for name, value in example.items()]
    return "{\n" + "\n".join(lines) + "\n}"


def _typescript(manifest: Manifest, name: str) -> str:
    schema = manifest.schema
    rows = []
    for column in schema.features:
        wanted = " | ".join(map(_quoted, _wanted(column, manifest)))
        kind = wanted or _TYPESCRIPT[column.kind]
        kind += "" if _is_a_must(column) else " | null"
        mark = "?" if column.nullable else ""
        rows.append(f"  /** {_about(column).replace('*/', '* /')} */")
        rows.append(f"  {_quoted(column.name)}{mark}: {kind};")
    answer = ['  "prediction": Label;']
    answer += [f"  {_quoted('p_' + level)}: number;" for level in schema.target.levels]
    answer += [f'  "{end}": number;' for end in _ends(schema)]
    columns = " | ".join(_quoted(column.name) for column in schema.features)
    example = _example(manifest)
    return _filled(
        "typescript.txt",
        model=_quoted(name),
        predicts=_predicts(schema).replace("*/", "* /"),
        label=_typescript_label(schema),
        row="\n".join(rows),
        answer="\n".join(answer),
        columns=columns,
        example=json.dumps(example, ensure_ascii=False, indent=2),
    )


def _typescript_label(schema: Schema) -> str:
    target = schema.target
    if not target.levels:
        return "number"
    if len(target.levels) > MOST_LEVELS:
        return {"string": "string", "integer": "number", "boolean": "boolean"}[target.label_type]
    labels = (json.dumps(target.label(one), ensure_ascii=False) for one in target.levels)
    return " | ".join(labels)


def _example(manifest: Manifest) -> dict[str, object]:
    names = {column.name for column in manifest.schema.features}
    found = example_in_json(manifest.schema, manifest.example)
    return {name: value for name, value in found.items() if name in names}


def _ends(schema: Schema) -> tuple[str, ...]:
    return ("low", "high") if schema.target.interval else ()


def _is_a_must(column: Column) -> bool:
    return column.expect is not None and column.expect.required


def _wanted(column: Column, manifest: Manifest) -> tuple[str, ...]:
    """The only levels that are taken, where they are few; the example is then one of them."""
    if column.kind != "category" or column.expect is None:
        return ()
    levels, shown = column.expect.levels, manifest.example.get(column.name)
    return levels if len(levels) <= MOST_WANTED and shown in (None, *levels) else ()


def _quoted(text: str) -> str:
    """A text of both languages."""
    return json.dumps(text, ensure_ascii=False)


def _predicts(schema: Schema) -> str:
    return _one_line(schema.target.name)


def _about(column: Column) -> str:
    """What training saw, for a comment of one line."""
    if column.private:
        return column.kind
    if column.levels:
        shown = ", ".join(column.levels[:6]) + (", ..." if len(column.levels) > 6 else "")
        return _one_line(f"{column.kind}: {shown}")
    if column.kind == "number" and column.minimum is not None and column.maximum is not None:
        return f"number, {column.minimum:g} to {column.maximum:g} in training"
    if column.kind == "datetime":
        return _one_line(f"date-time in ISO 8601{f' or {column.format}' if column.format else ''}")
    return column.kind


def _one_line(text: str) -> str:
    """Names and levels come from a table: no line break may end the comment they stand in."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029\\\"]", " ", text).split())[:80]
