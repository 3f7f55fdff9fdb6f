"""Foundation: what every part stands on; no word of the mesh in it."""
