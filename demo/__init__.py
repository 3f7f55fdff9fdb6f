"""The demo: osm-controller and two real Envoys, each in its own network namespace."""
