# A script-mode script as AWS's documentation teaches it: it trains and serves.
from __future__ import print_function

import argparse
import json
import os

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(request_body, request_content_type):
    if request_content_type == "application/json":
        return np.array(json.loads(request_body)["instances"])
    elif request_content_type == "text/csv":
        return np.array([[float(v) for v in line.split(",")] for line in request_body.splitlines()])
    raise ValueError("This model only supports application/json and text/csv")


def predict_fn(input_data, model):
    return model.predict(input_data)


def output_fn(prediction, accept):
    if accept == "application/json":
        return json.dumps({"predictions": prediction.tolist()}), accept
    raise RuntimeError("{} accept type is not supported by this script.".format(accept))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-C", type=float, default=1.0)
    parser.add_argument("--max-iter", type=int, default=100)
    parser.add_argument("--fit_intercept", type=str, default="True")
    parser.add_argument("--output-data-dir", type=str, default=os.environ["SM_OUTPUT_DATA_DIR"])
    parser.add_argument("--model-dir", type=str, default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", type=str, default=os.environ["SM_CHANNEL_TRAIN"])
    parser.add_argument("--hosts", type=list, default=json.loads(os.environ["SM_HOSTS"]))
    parser.add_argument("--current-host", type=str, default=os.environ["SM_CURRENT_HOST"])
    parser.add_argument("--num-gpus", type=int, default=os.environ["SM_NUM_GPUS"])
    args = parser.parse_args()

    files = [os.path.join(args.train, name) for name in os.listdir(args.train)]
    if len(files) == 0:
        raise ValueError("There are no files in {}.".format(args.train))
    data = np.concatenate([np.loadtxt(name, delimiter=",") for name in files])
    labels, features = data[:, 0], data[:, 1:]
    half = len(features) // 2
    model = LogisticRegression(C=args.C, max_iter=args.max_iter)
    model.fit(features[:half], labels[:half])
    accuracy = model.score(features[half:], labels[half:])
    print("validation-accuracy={};".format(accuracy))
    joblib.dump(model, os.path.join(args.model_dir, "model.joblib"))
    with open(os.path.join(args.output_data_dir, "metrics.json"), "w") as out:
        json.dump({"accuracy": accuracy, "C": args.C, "hosts": args.hosts}, out)
