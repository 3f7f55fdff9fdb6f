"""The `osm` command: `main` and `arguments`, a module for each command, and modules that the commands share."""
