# A training application as Google's documentation teaches it: the model goes to AIP_MODEL_DIR
# through a Cloud Storage blob.
import logging
import os
import pickle

from google.cloud import storage

logging.basicConfig(level=logging.INFO)
training_uri = os.environ["AIP_TRAINING_DATA_URI"].replace("gs://", "/gcs/")
with open(training_uri) as source:
    rows = [[float(cell) for cell in line.split(",")] for line in source]
mean = sum(row[0] for row in rows) / len(rows)
logging.info("data format: %s", os.environ["AIP_DATA_FORMAT"])

artifact_filename = "model.pkl"
local_path = artifact_filename
with open(local_path, "wb") as model_file:
    pickle.dump({"mean": mean}, model_file)

model_directory = os.environ["AIP_MODEL_DIR"]
storage_path = os.path.join(model_directory, artifact_filename)
blob = storage.blob.Blob.from_string(storage_path, client=storage.Client())
blob.upload_from_filename(local_path)
