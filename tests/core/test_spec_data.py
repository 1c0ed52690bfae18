"""Settings of the data part that are written in more than one way."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelwright.core.spec_data import SplitSpec


@pytest.mark.parametrize("given", ["5 %", "5%", 0.05, "0.05"])
def test_a_share_is_a_number_or_a_percentage(given: object) -> None:
    assert SplitSpec.model_validate({"holdout": given}).holdout == 0.05


@pytest.mark.parametrize("given", ["5", "120 %", "0 %", "five %"])
def test_what_is_no_share_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        SplitSpec.model_validate({"holdout": given})
