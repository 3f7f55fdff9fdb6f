"""osm-injector: the webhook that adds sidecars to pods."""
