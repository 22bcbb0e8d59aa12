"""Options that several commands share, as `Annotated` types, and how their values are read."""
