"""Release to Prediction: the inference service. Imports no training library."""
