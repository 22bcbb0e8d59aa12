"""The screen of `ocitool explore`, made with Textual; an extra, loaded by that command alone."""
