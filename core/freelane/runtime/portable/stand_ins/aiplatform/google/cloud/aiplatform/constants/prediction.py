"""Files that a prebuilt predictor looks for."""

MODEL_FILENAME_JOBLIB = "model.joblib"
MODEL_FILENAME_PKL = "model.pkl"
MODEL_FILENAME_BST = "model.bst"
