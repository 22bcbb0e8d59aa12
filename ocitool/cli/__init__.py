"""The command line: the only package that imports typer and rich, prints, and knows exit codes.

`app` builds the command line; `main` runs a command and turns errors into messages and exit codes.
`commands` has a module for each command, `options` the options that commands share. `documents`
defines the JSON documents, and `render` makes the text.
"""
