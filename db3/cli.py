"""The command `db3`: a name, and the function that does the rest."""

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

from db3.errors import Db3Error, unknown_name
from db3.extras import installed_version, needs


@dataclass(frozen=True)
class Command:
    """A command: `function(arguments) -> exit status`, imported when it is called.

    Attributes:
        function: `module:name`.
        does: for the list of commands.
        extra: of db3, whose packages it needs; empty: none.
    """

    function: str
    does: str
    extra: str = ""


COMMANDS = {
    "distill": Command("db3.api.command:distill_main", "train a student on the decisions of a model"),
    "estimate": Command("db3.api.command:estimate_main", "say how distill would spend its queries, and ask nothing"),
    "results": Command("db3.api.command:results_main", "list what runs of distill have brought, side by side"),
    "report": Command("db3.api.report:report_main", "write one page about a run of distill: report RUN", "report"),
    "compare": Command("flows.compare:main", "show two runs, or revisions, of a project side by side", "pipeline"),
    "init": Command("flows.init:main", "create a project of DVC and Prefect in a folder: init FOLDER", "pipeline"),
    "verify": Command("flows.verify:main", "prove a project's transfer set from the recorded answers", "pipeline"),
    "export": Command("db3.publish.command:export_main", "write a run's transfer set as a folder of datasets"),
    "sign": Command("db3.publish.command:sign_main", "sign a folder with a key, or check that: sign FOLDER --key FILE"),
    "answers": Command("db3.teachers.answers.command:main", "list, export, import, forget or check recorded answers"),
}
ALIASES = {"replay": "verify"}

_HELP = """\
NAME
    db3 - distil a student from a teacher that answers with nothing but its decision

SYNOPSIS
    db3 COMMAND [ARGUMENT ...]
    db3 COMMAND --help
    db3 --version

COMMANDS
{commands}

FILES
    params.yaml, dvc.yaml, conf/   a project: verify runs in its folder
    .db3/answers.sqlite            every answer of the teacher, in the folder of the run

ENVIRONMENT
    DB3_DATA_ROOT    folder of datasets; else ~/.cache/db3/datasets
    DB3_TRACEBACK    1: the traceback of an error, after its line

EXIT STATUS
    0 done, 1 an error that is told in one line, 2 a wrong command line or a missing package, 130 interrupted

EXAMPLES
    db3 distill vendor.onnx photos/ --shape 3 48 192 --classes 2 --queries 10000 --folder run
    db3 init digits --experiment smoke && cd digits && dvc repro
    db3 verify
    db3 answers list
"""


def main() -> NoReturn:
    """Console script."""
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help", "help"):
        _end(help_text(), 0)
    if name == "--version":
        _end(f"db3 {installed_version()}\n", 0)
    command = COMMANDS.get(ALIASES.get(name, name))
    if not command:
        told = str(unknown_name("command", name, [*COMMANDS, *ALIASES])) if name else "expected a command"
        _end(f"db3: {told}\nusage: db3 COMMAND [ARGUMENT ...]; `db3 --help` lists the commands\n", 2)
    try:
        with needs(command.extra, name):
            module, _, function = command.function.partition(":")
            run = getattr(import_module(module), function)
    except Db3Error as error:
        _end(f"db3: {error}\n", 2)
    sys.exit(run(arguments))


def help_text() -> str:
    """In the form of a man page; the commands from the table."""
    names = {name: [other for other, meant in ALIASES.items() if meant == name] for name in COMMANDS}
    titles = {name: ", ".join([name, *others]) for name, others in names.items()}
    width = max(map(len, titles.values()))
    return _HELP.format(
        commands="\n".join(f"    {titles[name]:<{width}}  {command.does}" for name, command in COMMANDS.items())
    )


def _end(text: str, status: int) -> NoReturn:
    (sys.stderr if status else sys.stdout).write(text)
    sys.exit(status)
