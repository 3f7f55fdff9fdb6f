"""`osm verify control-plane`: look at everything, then judge it; `look` asks the cluster, all else is pure."""
