"""Engine: the outside world -> mesh."""
