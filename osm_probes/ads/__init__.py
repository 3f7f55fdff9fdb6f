"""Engine: the aggregated discovery service that proxies connect to."""
