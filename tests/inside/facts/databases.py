"""The databases of fixtures/packages, which rpm and Berkeley DB wrote."""

import gzip

from tests.support.command import FIXTURES

FORMS = {"sqlite": "rpmdb.sqlite", "ndb": "Packages.db", "bdb_ro": "Packages"}
"""The forms of rpm's database as rpm calls them, and their files."""


def database(form: str) -> bytes:
    """Return the database of a form."""
    return gzip.decompress((FIXTURES / "packages" / f"{FORMS[form]}.gz").read_bytes())
