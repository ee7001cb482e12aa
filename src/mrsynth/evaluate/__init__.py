"""mrsynth evaluate: predictions against scans that no model has seen, beside the baselines."""
