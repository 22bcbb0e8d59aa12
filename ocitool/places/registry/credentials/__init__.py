"""Where credentials of docker and podman are kept: files, helpers, and the order of looking."""
