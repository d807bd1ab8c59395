"""Commands of the label stage: `python -m mlops_assets.labels classes --help`."""

import argparse
import datetime as dt
import sys
from collections.abc import Sequence

from mlops_assets.labels.class_decisions import VocabularyError
from mlops_assets.labels.class_desk import ClassDesk, as_text, desk_of
from mlops_assets.use_case import UseCaseError, load_use_case
from resources.settings import SettingsError, load_settings

_VERBS = {
    "rename": ("give a class another name; its id stays, and the old name goes on meaning it", "its new name"),
    "alias": ("say that another name, which is no class yet, means a class", "the other name"),
    "merge": ("say that a class is another one: its labels count for that", "the class that it is"),
    "deprecate": ("say that a class is not looked for any more", None),
    "accept": ("say that a class whose name is close to another's is one of its own", None),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0, or 1 where it was refused, with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        name = options.use_case or settings.use_case
        use_case = load_use_case(settings.use_case_folder / f"{name}.yaml")
        lines = _answer(desk_of(use_case, settings.places(name).store), options)
    except (VocabularyError, UseCaseError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(lines + "\n")
    return 0


def _answer(desk: ClassDesk, options: argparse.Namespace) -> str:
    if options.verb == "history":
        history = desk.history()
        return as_text(history.drop("class_id", "to_class_id")) if history.height else "nothing was decided yet"
    if options.verb == "list":
        pending = [f"waits for the next import: {decision.sentence()}" for decision in desk.pending()]
        return "\n".join([as_text(desk.classes()), *pending])
    decision = desk.decide(
        options.verb,
        options.of,
        getattr(options, "to", None),
        by=options.by,
        why=options.why,
        now=dt.datetime.now(dt.UTC),
    )
    return f"decided: {decision.sentence()}; it holds from the next import of labels"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mlops_assets.labels", description=__doc__)
    classes = parser.add_subparsers(dest="command", required=True).add_parser(
        "classes", help="look at classes, and decide about them"
    )
    classes.add_argument("--use-case", help="its name; else that of MLOPS_USE_CASE")
    verbs = classes.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="every class with its counts, and what it waits for")
    verbs.add_parser("history", help="every decision, who took it, when and why")
    for verb, (meaning, to) in _VERBS.items():
        command = verbs.add_parser(verb, help=meaning, description=meaning)
        command.add_argument("of", help="the class: a name of it, or its key such as c0007")
        if to:
            command.add_argument("to", help=to)
        _add_who_and_why(command)
    undo = verbs.add_parser("undo", help="take a decision back, also an undo")
    undo.add_argument("of", help="id of the decision, or the part after its dash")
    _add_who_and_why(undo)
    return parser


def _add_who_and_why(command: argparse.ArgumentParser) -> None:
    command.add_argument("--by", required=True, help="who decided")
    command.add_argument("--why", required=True, help="in words, for those who read it in a year")


if __name__ == "__main__":
    sys.exit(main())
