"""mrsynth prepare: a cohort table and steps → a prepared cohort and its page."""
