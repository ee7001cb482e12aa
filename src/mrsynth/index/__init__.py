"""mrsynth index: a folder of scans → the cohort table."""
