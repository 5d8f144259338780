"""The types of the schema. Most describe objects of other packages by their attributes; nothing is copied."""
