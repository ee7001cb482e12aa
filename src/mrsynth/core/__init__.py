"""core: what every room uses: images, names, settings, errors, files, seeds, work on many cases."""
