"""The command line: the only package that imports typer and rich, prints, and knows exit codes.

`main` builds the commands and turns errors into messages; `options` holds what commands share;
`console` writes results and messages, `layout_text` lays text out in columns, `progress` shows
progress; every command has a file of its own.
"""
