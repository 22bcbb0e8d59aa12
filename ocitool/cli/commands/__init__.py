"""One module for each command (or pair of commands); `app` loads the one that was typed."""
