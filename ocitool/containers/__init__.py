"""Containers: which containers use which image, and containers that ocitool makes from images.

`uses` matches what containers say about their images with the images of a layout; `providers` asks
the store (`records`), engines, `runtimes` and files (`listings`, `workloads`). `creating` makes a
bundle that an OCI runtime starts from `options`, its config.json by `config`; `lifecycle` starts
and stops it, `writable` tells what it changed, `removing` removes it, `staging` cleans up after
killed commands.
"""
