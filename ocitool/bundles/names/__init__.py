"""Which images a file names: a list, or YAML and JSON of Kubernetes, compose, Kustomize, imgpkg."""

from ocitool.bundles.names.found import NamedImage, NamesFound, NoImage
from ocitool.bundles.names.lines import LARGEST
from ocitool.bundles.names.reading import names_in

__all__ = ["LARGEST", "NamedImage", "NamesFound", "NoImage", "names_in"]
