"""Write the data of this project from the 1,797 images that scikit-learn brings.

data/digits.csv   three quarters, to train on: a label and 64 pixels a row
rows.json         the other quarter, kept apart: what to predict
labels.json       the answers to rows.json
"""

import json
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent


def main():
    pixels, labels = load_digits(return_X_y=True)
    train_pixels, held_pixels, train_labels, held_labels = train_test_split(
        pixels, labels, test_size=0.25, random_state=0, stratify=labels
    )
    lines = [",".join(["label", *(f"pixel_{number}" for number in range(64))])]
    lines += [
        ",".join(f"{value:g}" for value in (label, *row))
        for label, row in zip(train_labels, train_pixels, strict=True)
    ]
    (HERE / "data").mkdir(exist_ok=True)
    (HERE / "data" / "digits.csv").write_text("\n".join(lines) + "\n")
    (HERE / "rows.json").write_text(json.dumps(held_pixels.tolist()))
    (HERE / "labels.json").write_text(json.dumps(held_labels.tolist()))
    print(f"data/digits.csv: {len(train_labels)} rows; rows.json: {len(held_labels)} rows")


if __name__ == "__main__":
    main()
