"""synthesize: a trained model and a patient's scans → the missing image on the patient's own grid."""

from mrsynth.synthesize.dose import Doses
from mrsynth.synthesize.impute import REFUSE, MissingInputs
from mrsynth.synthesize.predict import Synthesizer, load_model
from mrsynth.synthesize.require import Units
from mrsynth.synthesize.spread import spread
from mrsynth.volume.predict import Inference

__all__ = ["REFUSE", "Doses", "Inference", "MissingInputs", "Synthesizer", "Units", "load_model", "spread"]
