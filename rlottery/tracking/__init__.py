"""Sends the metrics of runs to trackers (Weights & Biases, Trackio, MLflow), apart from the training of these runs."""
