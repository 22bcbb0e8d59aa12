"""One module for each verb: what a command does, without the command line."""
