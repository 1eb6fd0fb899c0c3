"""Custom prediction routines: the Predictor and one for scikit-learn."""
