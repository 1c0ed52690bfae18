"""A family that is slow on purpose: a network behind hundreds of layers that change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.decision import Layers
from modelwright.fit.families.network import FittedNetwork, Network
from modelwright.fit.family import FitJob, Fitted

UNITS, IDLE_LAYERS = 256, 400
"""One row takes some ten milliseconds; the file stays at a few megabytes."""


class SlowNetwork(Network):
    """A network whose hidden units are copied, one layer after the other."""

    name = "slow_network"
    defaults = {
        "hidden_layer_sizes": [UNITS], "alpha": 1e-4, "learning_rate_init": 1e-2, "max_iter": 60,
    }  # fmt: skip
    presets = ()
    storable = ()

    def fit(self, job: FitJob) -> Fitted:
        fitted = super().fit(job)
        assert isinstance(fitted, FittedNetwork)
        known = {name: getattr(fitted, name) for name in fitted.__dataclass_fields__}
        return _Slow(**{**known, "rounds": 0})  # so that it is not tried with fewer


@dataclass
class _Slow(FittedNetwork):
    """What the hidden units say is 0 or more, so that neither the unit matrix nor the cut at 0
    changes it."""

    def decision(self) -> Layers:
        plain = super().decision()
        idle: tuple[Array, Array] = (np.eye(UNITS), np.zeros(UNITS))
        return replace(plain, further=(idle,) * IDLE_LAYERS + plain.further)
