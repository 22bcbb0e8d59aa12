"""ocitool container: containers of images of the store, as bundles for an OCI runtime."""

from ocitool.cli.commands.container_commit import commit
from ocitool.cli.commands.container_cp import cp
from ocitool.cli.commands.container_create import create, run
from ocitool.cli.commands.container_diff import diff
from ocitool.cli.commands.container_export import export
from ocitool.cli.commands.container_inspect import inspect
from ocitool.cli.commands.container_list import list_containers, remove
from ocitool.cli.commands.container_logs import logs
from ocitool.cli.commands.container_start import start
from ocitool.cli.commands.container_stop import stop, wait
from ocitool.cli.parsing import command_group

# As with docker, what stands behind NAME belongs to the command, options too.
_COMMAND_LAST = {"allow_interspersed_args": False}

container = command_group()
container.command("create", context_settings=_COMMAND_LAST)(create)
container.command("run", context_settings=_COMMAND_LAST)(run)
container.command("start")(start)
container.command("stop")(stop)
container.command("wait")(wait)
container.command("logs")(logs)
container.command("ls")(list_containers)
container.command("rm")(remove)
container.command("diff")(diff)
container.command("commit")(commit)
container.command("export")(export)
container.command("cp")(cp)
container.command("inspect")(inspect)
