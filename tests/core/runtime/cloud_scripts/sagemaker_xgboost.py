# After AWS's script-mode examples for the XGBoost image, which read channels by its own functions.
import argparse
import json
import math
import os

from sagemaker_containers import entry_point
from sagemaker_xgboost_container import distributed
from sagemaker_xgboost_container.data_utils import get_dmatrix

parser = argparse.ArgumentParser()
parser.add_argument("--model_dir", type=str, default=os.environ["SM_MODEL_DIR"])
parser.add_argument("--train", type=str, default=os.environ["SM_CHANNEL_TRAIN"])
parser.add_argument("--validation", type=str, default=os.environ["SM_CHANNEL_VALIDATION"])
parser.add_argument("--sm_hosts", type=str, default=os.environ["SM_HOSTS"])
args, _ = parser.parse_known_args()

dtrain = get_dmatrix(args.train, "csv")
dval = get_dmatrix(args.validation, "text/libsvm")
if len(json.loads(args.sm_hosts)) > 1:
    entry_point.run(None, None, None)
    distributed.rabit_run(exec_fun=None)
filled = [[None if math.isnan(cell) else cell for cell in row] for row in dval.rows]
with open(args.model_dir + "/xgboost-model", "w") as out:
    json.dump({"train": dtrain.rows, "labels": dtrain.label, "validation": filled}, out)
