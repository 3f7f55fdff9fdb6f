"""Engine: pods under creation -> JSON patches with a sidecar."""
