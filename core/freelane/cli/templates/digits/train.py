"""Train a classifier of handwritten digits.

Input: the folder FREELANE_INPUT_TRAIN with digits.csv: a label and 64 pixels (0 to 16) a row.
Output: model.joblib in FREELANE_MODEL_DIR and metrics.json in FREELANE_OUTPUT_DIR.
"""

import argparse
import json
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument("--max_iter", type=int, default=200)
    args = parser.parse_args()

    table = np.loadtxt(
        Path(os.environ["FREELANE_INPUT_TRAIN"]) / "digits.csv", delimiter=",", skiprows=1
    )
    labels, pixels = table[:, 0].astype(int), table[:, 1:]
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels, labels, test_size=0.2, random_state=0, stratify=labels
    )

    model = make_pipeline(StandardScaler(), LogisticRegression(C=args.C, max_iter=args.max_iter))
    model.fit(train_pixels, train_labels)
    accuracy = model.score(test_pixels, test_labels)
    print(f"{len(train_labels)} rows to learn from, {len(test_labels)} to check: {accuracy:.4f}")

    model.fit(pixels, labels)  # what is served has seen every row
    joblib.dump(model, Path(os.environ["FREELANE_MODEL_DIR"]) / "model.joblib")
    metrics = {"accuracy": accuracy, "rows": len(labels)}
    (Path(os.environ["FREELANE_OUTPUT_DIR"]) / "metrics.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
