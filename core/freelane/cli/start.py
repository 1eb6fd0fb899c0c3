"""First steps: `init`, `providers`, `doctor`."""

import re
import shlex
from pathlib import Path

import click

from freelane.cli import render
from freelane.cli.document import plain
from freelane.cli.options import Session, Verb
from freelane.cli.templates import bare_file, project_files
from freelane.errors import ConfigError
from freelane.model.name import LONGEST_NAME, check_name


@click.command("init", cls=Verb)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--name", help="The project's name; by default that of the folder.")
@click.option("--bare", is_flag=True, help="Write freelane.toml alone, beside code that is there.")
def init(session: Session, *, folder: Path, name: str | None, bare: bool) -> None:
    """Write a new project: freelane.toml, train.py and predict.py.

    The project is the digits example: it trains as it stands, and is there to be changed. A file
    that is there already is never overwritten.
    """
    chosen = check_name(name, what="project") if name else name_of(folder)
    files = {"freelane.toml": bare_file(chosen)} if bare else project_files(chosen)
    taken = [file for file in files if (folder / file).exists() or (folder / file).is_symlink()]
    if taken:
        raise ConfigError(
            f"{folder} holds {', '.join(taken)} already; nothing was written",
            hint=None if bare or "freelane.toml" in taken else "--bare writes freelane.toml alone",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error

    def people() -> None:
        render.say(f"{chosen}: wrote {', '.join(files)} in {folder}")
        if not session.output.quiet:
            here = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
            made = [] if bare else ["python make_data.py"]
            render.say(f"next: {' && '.join([*here, *made, 'freelane train'])}")

    document = {"name": chosen, "folder": folder.resolve(), "files": list(files)}
    session.output.result({"project": document}, people)


def name_of(folder: Path) -> str:
    """A project name made of a folder's: `My Project_2` becomes `my-project-2`.

    Raises:
        ConfigError: The folder's name has no letter or digit to make one of.
    """
    words = re.findall(r"[a-z0-9]+", folder.resolve().name.lower())
    name = "-".join(words)[:LONGEST_NAME].rstrip("-")
    if not name:
        raise ConfigError(f"no project name can be made of {str(folder)!r}", hint="say --name NAME")
    return name


@click.command("providers", cls=Verb)
def providers(session: Session) -> None:
    """List the providers and what each of them can do."""
    with session.client() as client:
        rows = client.providers()

    def people() -> None:
        render.table(
            ["", "name", "plugin", "bills", "can", "what it is"],
            [
                [
                    "*" if row.selected else " ",
                    row.name,
                    row.plugin,
                    "no" if row.owned else "yes",
                    [name.value for name, support in row.capabilities.items() if support.usable],
                    row.problem or row.summary,
                ]
                for row in rows
            ],
            empty="no provider is installed",
        )

    session.output.result({"providers": rows}, people)


@click.command("doctor", cls=Verb)
@click.pass_context
def doctor(ctx: click.Context, session: Session) -> None:
    """Check this machine, the configuration and every provider.

    With --provider, that provider alone. Spends nothing; exit code 1 if a check fails.
    """
    marks = {"ok": "ok", "warning": "warning", "failed": "failed"}
    found: list[dict[str, object]] = []
    group_shown = ""
    with session.client() as client:
        for group, check in client.doctor(session.provider):
            outcome = marks[check.outcome.value]
            found.append({"group": group, **_fields(check)})
            if session.output.as_json or (session.output.quiet and outcome == "ok"):
                continue
            if group != group_shown:
                render.heading(group)
                group_shown = group
            render.check(outcome, f"{check.subject}: {check.detail}", check.remedy)
    failed = sum(check["outcome"] == "failed" for check in found)

    def people() -> None:
        warned = sum(check["outcome"] == "warning" for check in found)
        checks = "1 check" if len(found) == 1 else f"{len(found)} checks"
        render.say(f"{checks}, {failed} failed, {warned} to look at")

    session.output.result({"checks": found}, people)
    if failed:
        ctx.exit(1)


def _fields(check: object) -> dict[str, object]:
    fields = plain(check)
    return fields if isinstance(fields, dict) else {}
