"""A model that holds a core for some milliseconds a row."""


def load(_model_dir: str) -> int:
    """How much it does."""
    return 60_000


def predict(model: int, instances: list[object]) -> list[int]:
    """Count."""
    return [sum(n & 3 for n in range(model)) for _ in instances]
