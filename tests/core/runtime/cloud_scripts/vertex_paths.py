# The same through the mounted path, by joining strings as many published scripts do.
import argparse
import glob
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("--model-dir", dest="model_dir", default=os.getenv("AIP_MODEL_DIR"), type=str)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()

MODEL_DIR = args.model_dir.replace("gs://", "/gcs/")
lines = []
for path in glob.glob(os.environ["AIP_TRAINING_DATA_URI"].replace("gs://", "/gcs/")):
    lines += open(path).read().splitlines()
validation = open(os.environ["AIP_VALIDATION_DATA_URI"]).read().splitlines()
cluster = json.loads(os.environ["CLUSTER_SPEC"])
assert cluster["task"]["type"] == "workerpool0"
assert "TF_CONFIG" not in os.environ
with open(MODEL_DIR + "model.json", "w") as out:
    json.dump({"train": len(lines), "validation": len(validation), "epochs": args.epochs}, out)
