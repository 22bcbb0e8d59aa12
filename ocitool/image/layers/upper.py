"""What the current layer has added: its whiteouts do not hide that."""


class Upper:
    """What the layer that is being unpacked has added, and the folders that it has cleaned.

    Paths are remembered by their hash: some 70 bytes for each member.
    """

    def __init__(self) -> None:
        self._paths: set[int] = set()
        self.cleaned: set[str] = set()

    def add(self, path: str) -> None:
        """Remember a real path that a member of the layer was unpacked to."""
        self._paths.add(hash(path))

    def brought(self, path: str) -> bool:
        """Tell whether the layer has added this real path."""
        return hash(path) in self._paths

    def clean(self, path: str) -> bool:
        """Tell whether nothing of lower layers is left below a path."""
        if not self.cleaned:
            return False
        while path:
            if path in self.cleaned:
                return True
            path = path.rpartition("/")[0]
        return "" in self.cleaned
