"""All commands, in the order and the sections of the first help page."""

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Images": {
        "images": ("images", "List the images of the store or of another place."),
        "tag": ("tag", "Give an image more names."),
        "untag": ("tag", "Remove names and keep the images."),
        "rm": ("rm", "Remove names, and images that have no name left."),
        "reflog": ("reflog", "List what names pointed to before, and when."),
        "restore": ("restore", "Make a name point to what it pointed to before."),
    },
    "Move": {
        "load": ("load", "Add the images of an archive, a folder or a pipe to the store."),
        "save": ("save", "Write images as one tar, to a file or a pipe."),
        "pull": ("pull", "Download images from registries into the store."),
        "push": ("push", "Upload images to registries, sending only what they lack."),
        "copy": ("copy", "Copy images from any place to any other."),
        "sync": ("sync", "Mirror images between registries by a file of rules."),
    },
    "Air gap": {
        "inventory": ("inventory", "List the blobs that a place has, for deltas made elsewhere."),
        "lock": ("lock", "Write down which digests names stand for now."),
        "rewrite": ("rewrite", "Put other names of images into files, by digest."),
    },
    "Look inside": {
        "inspect": ("inspect", "Show an image: configuration, layers, platforms."),
        "history": ("history", "List the steps that made an image, with their layers."),
        "size": ("size", "Show what an image weighs, what is waste, and check budgets."),
        "export": ("export", "Write the files of an image as one tar."),
        "facts": ("facts", "Show packages, secrets and system of an image; deny some."),
        "diff": ("diff", "Compare two images: files, configuration, history, layers."),
        "dockerfile": ("dockerfile", "Write the Dockerfile that may have made an image."),
        "explore": ("explore", "Look around in an image on the whole screen."),
        "verify": ("verify", "Check every blob, size and reference; repair on request."),
    },
    "Edit": {
        "append": ("append", "Put layers on top of an image."),
        "convert": ("convert", "Convert an image to docker's or OCI's format."),
        "flatten": ("flatten", "Make one layer of all layers of an image."),
        "rebase": ("rebase", "Put an image on a newer base, without building it."),
        "set": ("set", "Change labels, variables, commands of an image."),
        "unwrap": ("unwrap", "Take the only image out of an index."),
    },
    "Registries": {
        "login": ("login", "Check credentials and store them as docker does."),
        "logout": ("login", "Remove stored credentials."),
    },
    "Clean up": {
        "gc": ("gc", "Remove what nothing needs; it shows its plan and can undo it."),
        "df": ("df", "Show shared, unique and reclaimable bytes."),
        "pin": ("pin", "Protect images from gc."),
        "unpin": ("pin", "Remove pins."),
    },
    "Containers": {},
    "Help": {
        "info": ("info", "Show what ocitool found: store, engines, credentials, proxies."),
        "completion": ("completion", "Print the completion script of a shell."),
        "zipapp": ("onefile", "Write ocitool itself as one file, for machines without pip."),
        "version": ("version", "Print the version."),
        "help": ("help", "Show the help page of a command."),
    },
}
"""Each command by the section of the help page: the module with its function, and what it does."""
COMMANDS = {
    name: module for commands in SECTIONS.values() for name, (module, _) in commands.items()
}
"""Each command, and the module of this package that holds the function of its name."""
GROUPS = {
    "bundle": ("Air gap", "Carry images across an air gap: whole, as a delta, in volumes."),
    "attestations": ("Edit", "Drop BuildKit's attestations, or attach them."),
    "index": ("Edit", "Make or change an index of images."),
    "registry": ("Registries", "List, look up and delete tags in a registry; serve as one."),
    "files": ("Look inside", "List, find, read and copy the files of an image."),
    "artifact": ("Registries", "Push and pull files; attach them to images."),
    "container": ("Containers", "Make and run containers; see and keep what they change."),
}
"""Words with commands below them: the section of the help page, and what they are for."""
