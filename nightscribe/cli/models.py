"""Define the commands of `nightscribe models`."""

from typing import Any

import click

from nightscribe.cli.options import settings
from nightscribe.shared.settings import load_settings
from nightscribe.terminal import visible


@click.group()
def models() -> None:
    """Manage weights of speech models on this machine.

    \b
    Examples:
      nightscribe models list --for-language de
      nightscribe models info parakeet-tdt-0.6b-v2
      nightscribe models pull base
    """


@models.command("list")
@settings("models_dir")
@click.option("--for-language", metavar="LANGUAGE", help="Leave out models that do not know this language.")
@click.option("--here", is_flag=True, help="Leave out models that are not on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_(for_language: str | None, here: bool, as_json: bool, **given: Any) -> None:
    """List the models.

    Their languages, size, licence, speed, published errors, and whether they are on this machine.

    \b
    Examples:
      nightscribe models list
      nightscribe models list --for-language uk
      nightscribe models list --here --json

    The table goes to stdout and its legend to stderr.
    """
    from nightscribe.services import models as service
    from nightscribe.shared.model.languages import language_code
    from nightscribe.views import models as view

    code = language_code(for_language) if for_language else None
    rows = [row for row in service.list_models(load_settings(**given), code) if row.is_here or not here]
    if as_json:
        click.echo(view.listed(rows))
        return
    for line in view.table(rows):
        click.echo(line)
    for line in view.legend(rows):
        click.echo(line, err=True)


@models.command()
@click.argument("name")
@settings("engine", "models_dir")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(name: str, as_json: bool, **given: Any) -> None:
    """Show what is known about the model NAME.

    Its files with their SHA-256, and what this machine would choose.

    \b
    Examples:
      nightscribe models info base
      nightscribe models info hf:facebook/wav2vec2-large-960h --json
    """
    from nightscribe.services import models as service
    from nightscribe.views import models as view

    found = service.info(load_settings(model=name, **given))
    for line in [view.about_object(found)] if as_json else view.about(found):
        click.echo(line)


@models.command()
@click.argument("name")
@settings("engine", "compute_type", "models_dir")
def pull(name: str, **given: Any) -> None:
    """Fetch the weights of the model NAME ahead of time.

    \b
    Examples:
      nightscribe models pull base
      nightscribe models pull tiny.en --engine openai-whisper
      nightscribe models pull parakeet-tdt-0.6b-v3
      nightscribe models pull hf:facebook/wav2vec2-large-960h
      nightscribe models pull speakers

    The name `speakers` means the models that tell speakers apart, which --speakers auto needs beside the weights. An
    interrupted download is continued. Checkpoints of wav2vec2 and HuBERT are converted to ONNX.
    """
    from nightscribe.services import models as service

    if name == "speakers":
        pulled = service.pull_speakers(load_settings(**given))
    else:
        pulled = service.pull(load_settings(model=name, **given))
    click.echo(visible(f"{pulled.model} for {pulled.engine}: {pulled.path} (from: {pulled.route})"))


@models.command()
@click.argument("name")
@settings("models_dir")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
def rm(name: str, dry_run: bool, **given: Any) -> None:
    """Delete the weights of the model NAME from this machine.

    They are deleted from the caches of other libraries as well.

    \b
    Examples:
      nightscribe models rm large-v3 --dry-run
      nightscribe models rm hf:facebook/wav2vec2-large-960h
    """
    from nightscribe.services import models as service
    from nightscribe.views import models as view

    done = service.remove(load_settings(model=name, **given), dry_run=dry_run)
    for line in view.removed(done, dry_run=dry_run):
        click.echo(line)
