"""drawing: arrays and tables in, pictures and HTML out."""
