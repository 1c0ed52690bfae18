"""Extension points: a short name or ``package.module:Name`` in the spec becomes an object."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from modelwright.core.errors import UsageError, did_you_mean


def resolve(name: str, builtin: Mapping[str, str], *, kind: str) -> object:
    """Return the object that `name` stands for; built-ins take the same road as yours.

    Nothing is registered: `builtin` maps short names to ``package.module:Name`` and any other
    name must already have that form.

    Args:
        name: a short name out of `builtin`, or ``package.module:Name``.
        builtin: short name -> ``package.module:Name``.
        kind: the word for error messages ("family", "gate").

    Raises:
        UsageError: the name is unknown, the module cannot be imported or lacks the name.

    Example:
        >>> resolve("join", {"join": "os.path:join"}, kind="source")("a", "b")
        'a/b'
    """
    target = builtin.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not colon:
        hint = did_you_mean(name, builtin) or f"Known: {', '.join(builtin)}."
        raise UsageError(f"Unknown {kind} {name!r}:", hint=f"{hint} Or give 'package.module:Name'.")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise UsageError(f"Cannot import {kind} {name!r}: {error}.") from error
    except AttributeError as error:
        raise UsageError(f"{kind} {name!r}: {module_name} has no {attribute!r}.") from error
