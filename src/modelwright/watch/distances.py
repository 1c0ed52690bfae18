"""One question to the counts of a window and of a reference: a distance and its p-value.

Distances are between 0 and 1 and do not grow with the number of rows; p-values say whether chance
explains them. Both are needed: small windows differ much by chance, large ones differ surely and
by nothing.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtrc, chdtrc, gammaincc, kolmogi, kolmogorov, ndtr
from scipy.stats import hypergeom

from modelwright.core.intake import Array
from modelwright.core.records import Interval
from modelwright.watch.counted import Joint, Spread

SMALL_CELL = 5.0
CHANCE = 0.05
"""Of the intervals that are shown."""


def numbers(window: Array, reference: Array) -> tuple[float, float]:
    """(largest difference of the distribution functions at the edges, p of Kolmogorov-Smirnov).

    Args:
        window, reference: [b] counts, in order of value.

    Example:
        >>> numbers(np.array([60, 40]), np.array([500, 500]))[0].__round__(3)
        0.1
    """
    n, many = float(window.sum()), float(reference.sum())
    if not n or not many:
        return 0.0, 1.0
    gap = np.cumsum(window) / n - np.cumsum(reference) / many
    distance = float(np.abs(gap).max())
    return distance, float(kolmogorov(math.sqrt(n * many / (n + many)) * distance))


def categories(window: Array, reference: Array) -> tuple[float, float]:
    """(total variation, p of chi-square); cells with an expected count under 5 are pooled.

    The law of the statistic is a gamma of the right mean and variance rather than chi-square, whose
    tail is too thin where cells are small (Haldane 1937 for the variance).

    Example:
        >>> categories(np.array([60, 40]), np.array([500, 500]))[0].__round__(3)
        0.1
    """
    n, many = float(window.sum()), float(reference.sum())
    if not n or not many:
        return 0.0, 1.0
    distance = 0.5 * float(np.abs(window / n - reference / many).sum())
    share = (window + reference) / (n + many)
    small = share * min(n, many) < SMALL_CELL
    pooled = [_pooled(cells, small) for cells in (window, reference, share)]
    found = pooled[2] > 0
    seen, known, share = (cells[found] for cells in pooled)
    cells = len(share)
    if cells < 2:
        return distance, 1.0
    gap = seen / n - known / many
    statistic = n * many / (n + many) * float((gap**2 / share).sum())
    freedom = cells - 1.0
    extra = (float((1 / share).sum()) - cells**2 - 2 * cells + 2) / min(n, many)
    stretch = max(1.0, 1 + extra / (2 * freedom))
    if stretch == 1.0:
        return distance, float(chdtrc(freedom, statistic))
    return distance, float(gammaincc(freedom / stretch / 2, statistic / stretch / 2))


def _pooled(cells: Array, small: Array) -> Array:
    return np.append(cells[~small], cells[small].sum())


def rates(k: int, n: int, known: int, many: int) -> tuple[float, float]:
    """(change of the share of k in n against known in many, two-sided exact p of Fisher).

    Example:
        >>> rates(50, 1000, 0, 20000)[0].__round__(3)
        0.05
    """
    if not n or not many:
        return 0.0, 1.0
    change, both = k / n - known / many, k + known
    if both in (0, n + many):
        return change, 1.0
    law = hypergeom(n + many, both, n)
    return change, float(min(1.0, 2 * (law.sf(k - 1) if change > 0 else law.cdf(k))))


def more_often(k: int, n: int, known: int, many: int) -> tuple[float, float]:
    """(share of k in n, one-sided p that it is not larger than known in many): for rare events.

    Example:
        >>> more_often(3, 1000, 0, 19000)[1].__round__(6)
        0.000125
    """
    if not n or not many or not k:
        return 0.0, 1.0
    return k / n, float(bdtrc(k - 1, k + known, n / (n + many)))


def joint(
    window: Joint, reference: Joint, spread: Spread, floors: Array | None = None
) -> tuple[float, float, tuple[int, int]]:
    """(change of the correlation that changed most beyond chance, p, that pair of columns).

    The p-value is of the largest of all pairs that are asked about (Šidák).

    Args:
        floors: least change of each pair [columns, columns], infinite for a pair that is not asked
            about; pairs beyond theirs go before the others. None asks about all alike.
    """
    c = len(window.names)
    floors = np.zeros((c, c)) if floors is None else floors
    pairs = int(np.isfinite(floors[np.triu_indices(c, 1)]).sum())
    if not pairs or not window.rows or not reference.rows:
        return 0.0, 1.0, (0, 0)
    change = window.correlations() - reference.correlations()
    noise = spread.one_row * math.sqrt(1 / window.rows + 1 / reference.rows)
    away = np.abs(change) / (noise * spread.widened(window.rows))
    away[~np.isfinite(floors)] = 0.0
    large = np.abs(change) >= floors
    among = np.where(large, away, 0.0) if (away[large] > 0).any() else away
    a, b = np.unravel_index(int(among.argmax()), away.shape)
    alone = 2 * float(ndtr(-away[a, b]))
    p = -math.expm1(pairs * math.log1p(-min(alone, 1 - 1e-16)))
    return float(abs(change[a, b])), p, (int(min(a, b)), int(max(a, b)))


def around_share(k: int, n: int) -> Interval:
    """Wilson's interval of a share.

    Example:
        >>> around_share(50, 1000).low.__round__(3)
        0.038
    """
    if not n:
        return Interval(math.nan, -math.inf, math.inf)
    z = 1.959964
    share, room = k / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / room
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / room
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach))


def around_distance(distance: float, n: int, many: int) -> Interval:
    """The band of Kolmogorov around a distance; a rough one where it is total variation."""
    if not n or not many:
        return Interval(math.nan, -math.inf, math.inf)
    reach = float(kolmogi(CHANCE)) * math.sqrt(1 / n + 1 / many)
    return Interval(distance, max(0.0, distance - reach), min(1.0, distance + reach))


def surely_changed(p: Array, q: float) -> Array:
    """Which tests are rejected at a false discovery rate of q (Benjamini, Hochberg 1995).

    Example:
        >>> surely_changed(np.array([0.0001, 0.2, 0.019]), 0.03).tolist()
        [True, False, True]
    """
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= q * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), bool)
    if len(below):
        found[order[: below[-1] + 1]] = True
    return found
