"""The image that a command looks at, as users write it."""

from typing import Annotated

import typer

from ocitool.cli.completing import store_names

ImageSource = Annotated[
    str,
    typer.Argument(
        metavar="SRC", help="NAME, ID, oci:DIR:TAG, ./FILE, …", autocompletion=store_names
    ),
]
