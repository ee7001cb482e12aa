"""mrsynth synthesizes the brain image that was not acquired.

Research software, not a medical device: every output says that it is synthetic.
"""

__version__ = "0.1.0"
