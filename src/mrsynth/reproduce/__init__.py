"""mrsynth reproduce: a paper's study as one command that resumes."""
