"""What a layer removed from a folder of the layers below."""

from msgspec import Struct

from ocitool.inside.state import Folder, LayerRecord


class Former(Struct):
    """What the layers below have in a folder and this one removed, by name; and where that is."""

    folder: Folder
    path: str
    names: Folder

    def note_deleted(self, record: LayerRecord) -> None:
        """Note in the record of the layer which of these names it did not bring again."""
        for name, old in self.names.items():
            now = self.folder.get(name)
            if name and now is None:
                record.deleted.setdefault(self.path, {})[name] = old
            elif isinstance(old, dict) and not isinstance(now, dict):
                inner = {key: value for key, value in old.items() if key}
                where = f"{self.path}/{name}" if self.path else name
                record.deleted.setdefault(where, {}).update(inner)
