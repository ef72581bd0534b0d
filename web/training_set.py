"""`flask --app web.app:create_export_app training-set export`: cases to learn from, copied out."""

from pathlib import Path

import click
from flask.cli import AppGroup

from web.portal.wording import reference
from web.services import export_services
from web.training_export import (
    FolderTakenError,
    Login,
    SignInRefusedError,
    TrainingExport,
    require_free,
    sign_in,
)

training_set_commands = AppGroup("training-set", help="Signed cases as a training set.")


@training_set_commands.command("export")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--administrator", required=True, help="The e-mail address you sign in with.")
def export_training_set(out: Path, administrator: str) -> None:
    """Copy the signed cases of your clinic whose patients permit research into a new folder.

    Ends with status 1 when a case had to be left out.
    """
    out = out.absolute()
    try:
        require_free(out)
        done = TrainingExport.start(export_services(), _sign_in(administrator)).write(out)
    except FolderTakenError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"Nothing was exported: {error}.") from error
    for one in done.left_out:
        click.echo(f"Left out: case {reference(one.submission_id)}: {one.reason}", err=True)
    if done.photos == 0:
        raise click.ClickException("There was no case to export; no folder was made.")
    click.echo(f"{done.photos} photos of {done.cases} cases are in {out}.")
    if done.left_out:
        raise click.ClickException(f"{len(done.left_out)} cases were left out.")


def _sign_in(administrator: str) -> Login:
    password = click.prompt("Password", hide_input=True)
    code = click.prompt("Code of the second step, or a recovery code")
    try:
        return sign_in(export_services(), email=administrator, password=password, code=code)
    except SignInRefusedError as error:
        raise click.ClickException(
            "Address, password or code is not right, or this person is no administrator."
        ) from error
