"""mrsynth check: what is wrong with a cohort, in words."""
