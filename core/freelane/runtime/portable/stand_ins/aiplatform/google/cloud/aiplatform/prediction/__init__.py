"""Custom prediction routines: the Predictor, and those for scikit-learn and XGBoost."""

from __future__ import annotations


class LocalModel:
    """What builds an image out of a predictor: there are no images here."""

    @classmethod
    def build_cpr_model(cls, *_args: object, **_kwargs: object) -> LocalModel:
        """Freelane serves the Predictor as it is.

        Raises:
            ImportError: Always.
        """
        raise ImportError("LocalModel needs the real package: pip install google-cloud-aiplatform")
