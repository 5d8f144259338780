"""The types of the schema. Most describe objects of other rooms, whose attributes they name; nothing is copied."""
