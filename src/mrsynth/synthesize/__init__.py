"""synthesize: a trained model and a patient's scans → the missing image on the patient's own grid."""

from mrsynth.synthesize.predict import Synthesizer, Units, load_model

__all__ = ["Synthesizer", "Units", "load_model"]
