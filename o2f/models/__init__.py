"""Head, loss and detectors: section 3.4, instance segmentation, and the parts of the baselines."""
