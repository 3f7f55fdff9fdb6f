"""General building blocks; nothing specific to meshes."""
