"""The names that `ocitool.oci` promises."""

import ocitool.oci


def test_every_promised_name_is_there() -> None:
    for name in ocitool.oci.__all__:
        assert getattr(ocitool.oci, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(ocitool.oci, "Image")
