"""Whatever the tests were started by: commands that they start can be interrupted."""

import signal

# What a shell starts in the background ignores SIGINT, and all that it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
