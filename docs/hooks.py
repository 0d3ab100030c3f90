"""Make the pages of the website that follow the code or lie outside docs/, and order them.

The command line, the settings, the formats and the errors are read from the program itself, so that these pages cannot
go out of date. README.md becomes the first page; CHANGELOG.md, CONTRIBUTING.md and SECURITY.md become pages as well.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import nightscribe
from nightscribe.cli.main import cli
from nightscribe.shared import errors
from nightscribe.shared.formats.registry import BUILT_IN, get_format
from nightscribe.shared.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[1]
AT_THE_TOP = {"index.md": "README.md", "changelog.md": "CHANGELOG.md"} | {
    f"contributing/{name.lower()}.md": f"{name}.md" for name in ("CONTRIBUTING", "SECURITY")
}
NAVIGATION = [
    {"Start": "index.md"},
    {
        "How to": [
            {"Models": "models.md"},
            {"Sources": "sources.md"},
            {"Buckets": "buckets.md"},
            {"Containers": "containers.md"},
            {"AWS": "aws.md"},
            {"Kubernetes": "kubernetes.md"},
            {"Monitoring": "monitoring.md"},
            {"The page": "page.md"},
            {"Python": "python.md"},
            {"Speakers": "speakers.md"},
        ]
    },
    {
        "Reference": [
            {"All parts": "reference.md"},
            {"Command line": "reference/cli.md"},
            {"Settings": "reference/settings.md"},
            {"Formats": "reference/formats.md"},
            {"Errors": "reference/errors.md"},
            {"Python": "reference/python.md"},
            {"Glossary": "glossary.md"},
        ]
    },
    {
        "Explanation": [
            {"Architecture": "architecture.md"},
            {"Faults": "faults.md"},
            {"Security": "security.md"},
            {"Performance": "performance.md"},
        ]
    },
    {"Contributing": []},
    {"Changelog": "changelog.md"},
]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages in order; a page in docs/ that is not named here is a guide for contributors or a how-to."""
    named = set(re.findall(r"[\w/-]+\.md", str(NAVIGATION)))
    others = sorted(path.name for path in Path(config.docs_dir).glob("*.md") if path.name not in named)
    guides = [name for name in others if name.startswith("adding-")]
    for section in NAVIGATION:
        if "How to" in section:
            section["How to"] = [*section["How to"], *(name for name in others if name not in guides)]
        elif "Contributing" in section:
            section["Contributing"] = ["contributing/contributing.md", *guides, "contributing/security.md"]
    config.nav = NAVIGATION
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/cli.md": command_line(),
        "reference/settings.md": settings(),
        "reference/formats.md": formats(),
        "reference/errors.md": error_classes(),
        "reference/python.md": python_api(),
    }
    pages |= {page: (ROOT / name).read_text() for page, name in AT_THE_TOP.items()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Lead links to where the website has their targets; a file of the repository is named without a link."""
    top = AT_THE_TOP.get(page.file.src_uri)
    back = "../" * page.file.src_uri.count("/")

    def link(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"\w+:", path):
            return found[0]
        folder = "" if top else "docs/" + page.file.src_uri.rpartition("/")[0]
        parts: list[str] = []
        for part in f"{folder}/{path}".split("/"):
            if part == "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        whole = "/".join(parts)
        pages = {name: page_ for page_, name in AT_THE_TOP.items()}
        inside = pages.get(whole) or (whole.removeprefix("docs/") if whole.startswith("docs/") else None)
        if inside and files.get_file_from_path(inside):
            return f"[{text}]({back}{inside}{hash_}{anchor})"
        return text if "`" in text or text == target else f"{text} (`{whole}`)"

    # Diagrams would need a library from another server: they stay text.
    markdown = markdown.replace("```mermaid", "```text")
    return re.sub(r"(?<!!)\[([^\]\n]+)\]\(([^)\s]+)\)", link, markdown)


def command_line() -> str:
    """Return every command with its help, as `nightscribe COMMAND --help` prints it."""
    return "\n".join(["# Command line", "", *_command(cli, "nightscribe", None)])


def _command(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    width = {"max_content_width": 80, "terminal_width": 80}  # of a page
    name = path.rpartition(" ")[2]
    context = click.Context(command, info_name=name, parent=parent, **(command.context_settings | width))
    yield from (f"## {path}", "", "```text", command.get_help(context), "```", "")
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            each = command.get_command(context, child)
            if each and not each.hidden:
                yield from _command(each, f"{path} {child}", context)


def settings() -> str:
    """Return every setting with its default and what it means."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default_factory.__name__ if field.default_factory else field.default
        shown = ",".join(default) if isinstance(default, tuple) else default
        value = "" if field.default_factory else f"`{shown}`"
        rows.append(
            f"| `{ENV_PREFIX}{name.upper()}` | {value} | {(field.description or '').replace('|', chr(92) + '|')} |"
        )
    return "\n".join(
        [
            "# Settings",
            "",
            "Each setting can be given as a variable. Commands whose `--help` lists it as an option take it there",
            "too, and the command line wins. An empty default depends on the machine.",
            "",
            "| variable | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def formats() -> str:
    """Return every built-in format with its suffix, media type and what it is."""
    rows = []
    for name in BUILT_IN:
        if (each := get_format(name)) is None:
            raise LookupError(f"the built-in format {name} cannot be loaded")
        about = (sys.modules[each.render.__module__].__doc__ or "").strip().splitlines()[0]
        kind = "subtitles" if each.is_subtitle else "text"
        rows.append(f"| `{name}` | `{each.suffix}` | `{each.content_type}` | {kind} | {about} |")
    return "\n".join(
        [
            "# Formats",
            "",
            "`--formats` and `NIGHTSCRIBE_FORMATS` take these names, separated by commas. Other packages can add more:",
            "[Adding a format](../adding-a-format.md).",
            "",
            "| name | suffix | media type | kind | |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "The `json` format is the canonical transcript, and [its schema](../transcript.schema.json) is published.",
            "",
        ]
    )


def error_classes() -> str:
    """Return every error class with what it means, indented by inheritance."""
    lines = [
        "# Errors",
        "",
        "Every error raised on purpose, by class; its text is one plain sentence for the user.",
        "",
    ]

    def add(kind: type[Exception], depth: int) -> None:
        lines.append(f"{'    ' * depth}- `{kind.__name__}`: {(inspect.getdoc(kind) or '').splitlines()[0]}")
        for each in vars(errors).values():
            if inspect.isclass(each) and each.__bases__[0] is kind:
                add(each, depth + 1)

    add(errors.NightscribeError, 0)
    return "\n".join([*lines, ""])


def python_api() -> str:
    """Return the reference of every public name, from the docstrings."""
    lines = ["# Python", "", "How to use it: [Python](../python.md).", ""]
    for name in nightscribe.__all__:
        each = getattr(nightscribe, name)
        if hasattr(each, "__qualname__"):
            lines.append(f"::: {each.__module__}.{each.__qualname__}")
    return "\n\n".join([*lines, ""])
