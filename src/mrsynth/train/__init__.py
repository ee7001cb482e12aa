"""train: a prepared cohort and a network → a trained network, on Lightning, resumable to the bit."""
