"""Mirrors, as this machine has them configured for podman and containerd; read only.

`registries_conf` and `hosts_toml` read the two kinds of file into `Endpoint`s; `finding` says, for
an image, which endpoints to ask and in which order.
"""
