"""Protected columns, those that speak for them, and columns that should perhaps be protected."""

from __future__ import annotations

import re

import numpy as np

from modelwright.core.records import Finding
from modelwright.data.checks.probe import Look

PROXY = 0.5
"""Cramer's V (0 to 1) from which a column stands for a protected one."""
_PROTECTED = re.compile(
    r"(^|_)(sex|gender|race|ethnic\w*|religion|disab\w+|nationality|native_country|"
    r"marital_status|pregnan\w+|sexual_orientation|skin_colou?r|age)(_|$)"
)


def protected(look: Look) -> list[Finding]:
    """Proxies of the columns that the spec protects; without any, columns that look protected."""
    features = [c for c in look.columns if c.is_feature]
    given = [c.name for c in features if c.protected]
    if not given:
        named = [c.name for c in features
                 if _PROTECTED.search(re.sub(r"[^a-z]+", "_", c.name.lower()))]  # fmt: skip
        if not named:
            return []
        return [
            Finding("protected columns", ", ".join(named), "pass", "none is marked", "",
                    "their names speak of traits that the law may protect",
                    f"data.protected: [{', '.join(named)}] to watch for unequal treatment",
                    "info", columns=tuple(named))
        ]  # fmt: skip
    found = []
    for name in given:
        for column in features:
            if column.name == name or column.protected:
                continue
            v = cramers_v(look, name, column.name)
            if v >= PROXY:
                found.append(
                    Finding("proxy", column.name, "fail", f"Cramer's V {v:.2f} with {name}", "",
                            f"the model can tell {name} from it, even without that column",
                            f"look at the results by {name}; a limit with slices demands a quality",
                            "warning", columns=(column.name, name))
                )  # fmt: skip
    return found


def cramers_v(look: Look, one: str, two: str) -> float:
    """Association of two columns over their bins, with the correction of Bergsma (2013)."""
    (a, rows), (b, columns) = look.bins(one), look.bins(two)
    table = np.zeros((rows, columns))
    np.add.at(table, (a, b), 1)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    n = table.sum()
    r, k = table.shape
    if min(r, k) < 2 or n < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = float(((table - expected) ** 2 / expected).sum()) / n
    phi = max(0.0, phi - (r - 1) * (k - 1) / (n - 1))
    r, k = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi / (min(r, k) - 1)))
