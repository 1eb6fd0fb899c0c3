# A module of a trainer package that logs to Vertex AI Experiments and writes through gcsfs.
import argparse
import glob
import os
import pickle

import gcsfs
from google.cloud import aiplatform

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--job-dir", default=os.environ.get("AIP_MODEL_DIR", ""))
args = parser.parse_args()

aiplatform.init(project=os.environ.get("CLOUD_ML_PROJECT_ID"), location="us-central1",
                experiment="means")
with aiplatform.start_run("run-1"):
    aiplatform.log_params({"epochs": args.epochs})
    values = [float(line) for name in glob.glob(os.environ["AIP_TRAINING_DATA_URI"])
              for line in open(name)]
    for epoch in range(args.epochs):
        aiplatform.log_time_series_metrics({"loss": 0.5 ** (epoch + 1)}, step=epoch)
    aiplatform.log_metrics({"mean": sum(values) / len(values), "note": "no number"})

fs = gcsfs.GCSFileSystem()
with fs.open(os.path.join(args.job_dir, "model.pkl"), "wb") as out:
    pickle.dump(values, out)
