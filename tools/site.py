"""What mkdocs is told beyond its own: the README is the first page, and what lies outside of docs/ is named, not linked."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]\n]*)\]\(([^)\s]+)\)")


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """Make the front page of the README, whose links begin one folder higher."""
    text = (ROOT / "README.md").read_text("utf-8").replace("docs/", "")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the name of a file that is no page in the place of a link to it."""
    folder = Path(config["docs_dir"]) / Path(page.file.src_uri).parent

    def here(link: re.Match[str]) -> str:
        words, target = link.groups()
        path = target.partition("#")[0]
        if (
            not path
            or "://" in target
            or (
                (folder / path).resolve().is_relative_to(config["docs_dir"])
                and (folder / path).exists()
            )
        ):
            return link[0]
        if page.file.src_uri == "index.md" and (ROOT / "docs" / path).exists():
            return link[0]
        if (folder / path).exists() or (ROOT / path).exists():
            return (
                words if "`" in words else f"{words} (`{Path(path).as_posix().replace('../', '')}`)"
            )
        return link[0]

    return LINK.sub(here, markdown)
