"""`python requirements.py [EXTRA ...]` prints the packages that pyproject.toml asks for, one a line."""

import sys
import tomllib
from pathlib import Path

# The images have an ffmpeg of their own; an extra that names another is given with it.
LEFT_OUT = ("imageio-ffmpeg", "nightscribe[")

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
wanted = [*project["dependencies"], *(each for name in sys.argv[1:] for each in project["optional-dependencies"][name])]
print("\n".join(each for each in wanted if not each.startswith(LEFT_OUT)))
