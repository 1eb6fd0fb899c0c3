"""`environment.Environment()`: the job as attributes, from the SM_ variables."""

from __future__ import annotations

import json
import os


class Environment:
    """What the SM_ variables say."""

    def __init__(self, **_kwargs: object) -> None:
        get = os.environ.get
        known = json.loads(get("SM_TRAINING_ENV", "{}"))
        self.__dict__.update(known)
        self.hyperparameters = json.loads(get("SM_HPS", "{}"))
        self.current_host = get("SM_CURRENT_HOST")
        self.hosts = json.loads(get("SM_HOSTS", "[]"))
        self.num_gpus = int(get("SM_NUM_GPUS", "0"))
        self.num_cpus = int(get("SM_NUM_CPUS", "1"))
