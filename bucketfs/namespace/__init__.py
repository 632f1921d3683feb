"""Names (layer 2a): which entries exist and what their attributes are; never touches file bytes."""
