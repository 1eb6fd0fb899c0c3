"""Stands in for google-cloud-aiplatform: only what a custom prediction routine imports."""


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"aiplatform.{name} needs the real package: pip install google-cloud-aiplatform"
    )
