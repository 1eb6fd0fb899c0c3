# After AWS's inference-pipeline examples, which import the container's own toolkit.
import argparse
import os
import pickle
from io import StringIO

from sagemaker_containers.beta.framework import (
    content_types, encoders, env, modules, transformer, worker)


class Doubler:
    def predict(self, rows):
        return [[2 * value for value in row] for row in rows]


def input_fn(input_data, content_type):
    if content_type == "text/csv":
        return [[float(cell) for cell in line.split(",")] for line in StringIO(input_data)]
    raise ValueError("{} not supported by script!".format(content_type))


def output_fn(prediction, accept):
    if accept == "application/json":
        return worker.Response('{"instances": %s}' % prediction, mimetype=accept)
    elif accept == "text/csv":
        return worker.Response(encoders.encode(prediction, accept), mimetype=accept)
    raise RuntimeError("{} accept type is not supported by this script.".format(accept))


def predict_fn(input_data, model):
    return model.predict(input_data)


def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.pkl"), "rb") as source:
        return pickle.load(source)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_dir", type=str, default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", type=str, default=os.environ["SM_CHANNEL_TRAINING"])
    args, _ = parser.parse_known_args()
    with open(os.path.join(args.model_dir, "model.pkl"), "wb") as out:
        pickle.dump(Doubler(), out)
