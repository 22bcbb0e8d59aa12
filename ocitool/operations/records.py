"""What a layout itself keeps: pins, containers, what `gc` can undo. Is it readable?"""

from collections.abc import Callable, Iterator

from ocitool.containers import containers
from ocitool.errors import IntegrityError, Refused
from ocitool.operations.hashing import Problem
from ocitool.places.layout import Layout
from ocitool.places.layout.trash import last_run


def unreadable_records(layout: Layout) -> Iterator[Problem]:
    """Yield the records of a layout that cannot be read: each of them keeps images."""
    readers: tuple[tuple[str, Callable[[], object]], ...] = (
        ("pins", layout.pins),
        ("containers", lambda: containers(layout)),
        ("trash", lambda: layout.control is not None and last_run(layout.control)),
    )
    for subject, read in readers:
        try:
            read()
        except (IntegrityError, Refused) as error:
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            yield Problem(kind="record", subject=subject, message=message)
