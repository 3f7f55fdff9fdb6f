"""Shell: listening socket -> requests -> answers; the one home of aiohttp."""
