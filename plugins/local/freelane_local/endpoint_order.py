"""What an endpoint's spec.json asks of its supervisor."""

from freelane_local import records
from freelane_local.records import list_in, mapping_in, number_in


class Order:
    """One endpoint's wishes."""

    def __init__(self, spec: records.Document) -> None:
        self.name = str(spec["name"])
        self.argv = [str(word) for word in list_in(spec, "argv")]
        self.python = str(spec["python"])
        self.environment = mapping_in(spec, "environment")
        self.env = {name: str(value) for name, value in mapping_in(spec, "env").items()}
        self.secrets = [str(name) for name in list_in(spec, "secrets")]
        self.gpus = mapping_in(spec, "gpus")
        ration = mapping_in(spec, "ration")
        self.ration = [str(word) for word in list_in(ration, "argv")]
        self.ration_variables = [str(name) for name in list_in(ration, "variables")]
        memory = number_in(spec, "memory_bytes")
        self.memory_bytes = None if memory is None else int(memory)
        self.grace_s = number_in(spec, "grace_s") or 0.0
        self.start_timeout_s = number_in(spec, "start_timeout_s") or 0.0
        self.note = str(spec["note"])
