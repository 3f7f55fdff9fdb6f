"""osm-controller: the ADS, with its CA, mesh and metrics."""
