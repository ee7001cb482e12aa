"""recipes: a method as one page of YAML, and the stages that carry it from scans to a report."""
