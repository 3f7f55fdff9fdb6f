"""Engine: what is known of health -> HTTP answers."""
