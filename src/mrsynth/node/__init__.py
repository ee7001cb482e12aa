"""mrsynth node: a DICOM node that takes studies, runs the models whose inputs are there, and sends the results back."""
