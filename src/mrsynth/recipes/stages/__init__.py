"""One module a verb: what `mrsynth VERB` does, as a function that can be called from Python."""
