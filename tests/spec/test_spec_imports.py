"""The names that `ocitool.spec` promises."""

import ocitool.spec


def test_every_promised_name_is_there() -> None:
    for name in ocitool.spec.__all__:
        assert getattr(ocitool.spec, name) is not None


def test_every_lazy_name_is_promised() -> None:
    assert sorted(ocitool.spec._MODULES) == ocitool.spec.__all__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(ocitool.spec, "Image")
