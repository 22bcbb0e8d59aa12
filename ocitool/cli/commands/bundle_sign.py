"""ocitool bundle sign: a signature beside a bundle that is there already."""

from typing import Annotated

import typer

from ocitool.cli.options.bundles import Bundles, opened_bundles
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output

Key = Annotated[
    str,
    typer.Option(
        "--sign-key",
        metavar="K",
        help="SSH key to sign with; of one in the agent or on a token name the public key.",
    ),
]


@with_options(out=OUTPUT)
def sign(files: Bundles, *, key: Key, out: Output) -> None:
    """Sign bundles with an SSH key; the signature goes to FILE.sig beside each file.

    Signed is the list, which names every byte of the bundle: nothing else is read. `bundle verify`
    and `bundle load` find the file. `bundle create --sign-key` puts it into the bundle.
    """
    from ocitool.bundles.trust import sign_beside
    from ocitool.cli.render.console import safe

    with opened_bundles(files, out) as found:
        written = [path for one in found for path in sign_beside(one, key)]
    out.result(
        written,
        text=lambda paths: [safe(path) for path in paths],
        ids=list,
        view=lambda paths: {"signatures": list(paths)},
    )
