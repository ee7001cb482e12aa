"""serve: a local page: scans in, the missing image out."""
