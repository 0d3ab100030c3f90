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
    Example:
      nightscribe models pull base
    """


@models.command()
@click.argument("name")
@settings("engine", "models_dir")
def pull(name: str, **given: Any) -> None:
    """Fetch the weights of the model NAME ahead of time, for instance while an image is built.

    \b
    Examples:
      nightscribe models pull base
      nightscribe models pull tiny.en --engine openai-whisper
      nightscribe models pull speakers

    The name `speakers` means the models that tell speakers apart, which --speakers auto needs beside the weights.
    """
    from nightscribe.services import models as service

    if name == "speakers":
        pulled = service.pull_speakers(load_settings(**given))
    else:
        pulled = service.pull(load_settings(model=name, **given))
    click.echo(visible(f"{pulled.model} for {pulled.engine}: {pulled.path} (from: {pulled.route})"))
