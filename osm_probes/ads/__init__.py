"""The aggregated discovery service (ADS), which proxies connect to."""
