"""The table of limits."""

import pytest

from ocitool.errors import UsageError
from ocitool.oci.limits import DEFAULT_LIMITS


def test_one_limit_can_be_changed() -> None:
    assert DEFAULT_LIMITS.with_limit("layers", 7).layers == 7


def test_an_unknown_limit_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(UsageError) as caught:
        DEFAULT_LIMITS.with_limit("layer", 7)
    assert "index_descriptors" in str(caught.value.hint)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(UsageError):
        DEFAULT_LIMITS.with_limit("layers", -1)
