"""The command `fbc`: one sub-command per noun, each in its own file, loaded only when it is called."""

import importlib
import sys
from dataclasses import dataclass

import typer


@dataclass(frozen=True)
class Noun:
    """A sub-command: the module that holds its `app`, and the line `fbc --help` shows.

    Of one that is `alone` the app has a single command, which is the noun itself.
    """

    module: str
    help: str
    alone: bool = False


NOUNS = {
    "deliveries": Noun("cli.deliveries", "publish deliveries and see what became of them"),
    "dev": Noun("cli.dev", "the whole connector on this machine: up, down, status, scale, seed"),
    "demo": Noun("cli.demo", "one file of people into an audience, with every sum checked", alone=True),
    "match-keys": Noun("cli.match_keys", "what a single value becomes before it leaves, and why"),
    "preview": Noun("cli.preview", "what would be sent of a file, what would not, and what to fix", alone=True),
    "topics": Noun("cli.topics", "create the declared Kafka topics"),
    "db": Noun("cli.db", "roles, schemas and migrations of the database"),
    "schemas": Noun("cli.schemas", "the generated contract files"),
    "docs": Noun("cli.docs", "the generated reference pages"),
}


def build(called: str | None) -> typer.Typer:
    """The command line with the noun *called* loaded; the others are only named.

    `fbc --help` must not pay for a database driver (SQLAlchemy alone costs 0.2 s).
    """
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="facebook-connector: deliveries of people into Meta audiences, seen and steered from here.",
    )
    for name, noun in NOUNS.items():
        loaded = importlib.import_module(noun.module).app if name == called else typer.Typer()
        only = loaded.registered_commands[0].callback if noun.alone and loaded.registered_commands else None
        if only is not None:
            app.command(name)(only)
        else:
            app.add_typer(loaded, name=name, help=noun.help)
    return app


def main() -> None:
    """Entry point of `fbc` and `python -m cli`."""
    build(sys.argv[1] if len(sys.argv) > 1 else None)()


if __name__ == "__main__":
    main()
