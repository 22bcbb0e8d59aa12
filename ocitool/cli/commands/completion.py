"""ocitool completion: what a shell runs to complete a command line."""

from typing import Annotated

import typer

from ocitool.cli.completing import words
from ocitool.cli.render import console
from ocitool.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_OCITOOL_COMPLETE"
# Bash splits words at colons, and replaces only what follows the last one: names have colons.
_BASH = r"""
_ocitool_completion() {
    local line=${COMP_LINE:0:COMP_POINT} words current breaks IFS=$' \t\n'
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    IFS=$'\n'
    COMPREPLY=( $(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \
        _OCITOOL_COMPLETE=complete_bash "$1" 2> /dev/null) )
    breaks=${COMP_WORDBREAKS//[^:=@]/}
    if [[ -n $breaks && $current == *[$breaks]* ]]; then
        COMPREPLY=( "${COMPREPLY[@]#"${current%"${current##*[$breaks]}"}"}" )
    fi
}
complete -o default -F _ocitool_completion ocitool
"""

Shell = Annotated[
    str,
    typer.Argument(
        metavar="bash|zsh|fish", help="The shell to complete in.", autocompletion=words(*_SHELLS)
    ),
]


def completion(shell: Shell) -> None:
    """Print the script that completes commands, options, their values and names of images."""
    if shell not in _SHELLS:
        raise UsageError(f"{shell!r} is not bash, zsh or fish")
    console.out(_BASH.strip() if shell == "bash" else _script_of_typer(shell))


def _script_of_typer(shell: str) -> str:
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="ocitool", complete_var=_VARIABLE, shell=shell)
