"""synthesize: a trained model and a patient's scans → the missing image on the patient's own grid."""

from mrsynth.synthesize.predict import Synthesizer, load_model

__all__ = ["Synthesizer", "load_model"]
