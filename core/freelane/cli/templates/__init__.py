"""Files that `init`, `demo` and `import` write into a user's folder."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
_KEPT_AS = {"dot-gitignore": ".gitignore"}  # a build would obey the real name
FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "torch")
"""Frameworks for which a `predict.py` can be written."""


def project_files(name: str) -> dict[str, str]:
    """File name -> text of the digits project, called `name`."""
    files = {
        _KEPT_AS.get(file.name, file.name): file.read_text(encoding="utf-8")
        for file in sorted((_HERE / "digits").iterdir())
        if file.is_file()
    }
    files["freelane.toml"] = files["freelane.toml"].replace('"digits"', f'"{name}"', 1)
    return files


def bare_file(name: str) -> str:
    """The text of a freelane.toml that stands beside code which is there already."""
    return (_HERE / "bare.toml").read_text(encoding="utf-8").replace('"bare"', f'"{name}"', 1)


def predict_file(framework: str, model_file: str | None) -> str | None:
    """A `predict.py` that serves `model_file`; None for a framework that has none.

    Without a name it looks for the usual one, such as `model.joblib`.
    """
    if framework not in FRAMEWORKS:
        return None
    text = (_HERE / "predict" / f"{framework}.py").read_text(encoding="utf-8")
    if model_file is None:
        return text
    before, _, after = text.partition('MODEL = "')
    return f"{before}MODEL = {model_file!r}{after[after.index(chr(34)) + 1 :]}"
