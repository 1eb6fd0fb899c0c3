"""Models on their way in and out: `import`, `pull`."""

from difflib import get_close_matches
from pathlib import Path

import click

from freelane.cli import render
from freelane.cli.complete import job_ids
from freelane.cli.options import Session, Verb, consent
from freelane.cli.templates import FRAMEWORKS, predict_file
from freelane.errors import ConfigError
from freelane.model.choice import Framework


@click.command("import", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--framework", required=True, metavar="NAME[==VERSION]",
    help="What it was made with: sklearn==1.4.2, xgboost, lightgbm, torch.",
)  # fmt: skip
@click.option("--name", help="The model's name; by default the project's.")
@click.option("--yes", "-y", is_flag=True, help="Consent: the file comes from where you trust.")
def import_(session: Session, *, file: Path, framework: str, name: str | None, yes: bool) -> None:
    """Bring in a model that was trained elsewhere.

    FILE is a file, a folder or a tar archive. A copy is kept that `deploy` can serve, and
    predict.py is written where there is none.
    """
    made_with = Framework.parse(framework)
    near = get_close_matches(made_with.name, FRAMEWORKS, n=1, cutoff=0.75)
    if near and made_with.name not in FRAMEWORKS:
        raise ConfigError(f"framework {made_with.name!r} is not known; did you mean {near[0]!r}?")
    if not file.exists():
        raise ConfigError(f"there is no file {str(file)!r} to import")
    output = session.output
    with session.client() as client:
        client.config.require_project()
        consent(
            f"{file.name} may run code of its author when it is loaded; import it?",
            yes=yes,
            refusal=f"{file.name} may run code of its author when it is loaded, and nobody is here "
            "to be asked",
        )
        artifact = client.artifacts.import_(file, framework=framework, name=name)
        deploy = client.config.project.deploy
        script = client.config.root / (deploy.script if deploy is not None else "predict.py")
    written = _write_predict(script, made_with.name, file)
    if written is None and not script.exists():
        output.warning(
            f"write {script.name} yourself: there is none for {made_with.name} "
            f"(there is for {', '.join(FRAMEWORKS)})"
        )

    def people() -> None:
        render.say(f"imported {artifact.id} ({render.size_text(artifact.record.size_bytes)})")
        if written is not None:
            render.say(f"wrote {written}; check that it loads the model as you want")
        output.note(f"next: freelane deploy {artifact.id}")

    document = {"artifact": artifact.to_json(), "written": written}
    output.result(document, people)


def _write_predict(script: Path, framework: str, model: Path) -> Path | None:
    from freelane.runtime.archive import is_archive  # noqa: PLC0415

    single = model.is_file() and not is_archive(model)
    text = predict_file(framework, model.name if single else None)
    if text is None:
        return None
    try:
        with script.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return None
    except (PermissionError, NotADirectoryError, FileNotFoundError) as error:
        raise ConfigError(f"{script} cannot be written: {error.strerror}") from error
    return script


@click.command("pull", cls=Verb)
@click.argument("source", metavar="JOB", shell_complete=job_ids)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def pull(session: Session, *, source: str, folder: Path) -> None:
    """Copy the model of a job into a folder.

    JOB may also be a model's id. The folder must be empty or new; every file is verified.
    """
    with session.client() as client:
        client.artifacts.pull(source, folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    size_bytes = sum(file.stat().st_size for file in files)

    def people() -> None:
        render.say(
            f"{folder}: {', '.join(str(file.relative_to(folder)) for file in files)} "
            f"({render.size_text(size_bytes)})"
        )

    document = {
        "source": source,
        "folder": folder.resolve(),
        "files": [file.relative_to(folder).as_posix() for file in files],
        "size_bytes": size_bytes,
    }
    session.output.result({"pull": document}, people)
