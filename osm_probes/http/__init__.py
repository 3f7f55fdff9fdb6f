"""The HTTP server. Only this package imports aiohttp."""
