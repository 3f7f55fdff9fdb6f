"""The `osm` command: one module per noun."""
