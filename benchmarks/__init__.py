"""Speed and memory, each number with device, versions and commit. `make bench` writes RESULTS.md."""
