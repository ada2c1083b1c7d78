"""`db3 export` and `db3 sign`: what leaves a run, and who vouches for it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from db3.errors import ConfigError, DataError, Db3Error
from db3.publish.export import check_export, export_transfer
from db3.publish.signature import sign_folder, verify_folder
from db3.publish.transfer_folder import open_transfer


def export_main(arguments: Sequence[str]) -> int:
    """`db3 export`; the exit status."""
    parser = argparse.ArgumentParser(
        prog="db3 export", description="Write the transfer set of a run as a folder of Hugging Face datasets."
    )
    parser.add_argument("run", type=Path, nargs="?", help="a folder of db3 distill, or a pipeline's data/")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="to be written")
    parser.add_argument("--license", help="of the data set, as the hub names it: cc-by-4.0, mit, …")
    parser.add_argument(
        "--check", type=Path, metavar="FOLDER", help="compute the digest of an export anew; with RUN, beside its own"
    )
    options = parser.parse_args(arguments)

    def work() -> str:
        if (options.to is None) == (options.check is None):
            raise ConfigError("expected either RUN --to FOLDER, or --check FOLDER")
        if options.check is not None:
            return _checked(options.check, options.run)
        if options.run is None:
            raise ConfigError("no run is named; expected RUN --to FOLDER, RUN a folder of db3 distill or a data/")
        return f"{export_transfer(options.run, options.to, options.license)}  {options.to}"

    return _told("export", work)


def _checked(folder: Path, run: Path | None) -> str:
    digest = check_export(folder)
    if run is not None and (own := open_transfer(run).digest) != digest:
        raise DataError(f"{folder} holds the transfer set {digest[:12]}, but {run} holds {own[:12]}: export it again")
    return f"{digest}  {folder}"


def sign_main(arguments: Sequence[str]) -> int:
    """`db3 sign`; the exit status."""
    parser = argparse.ArgumentParser(
        prog="db3 sign", description="Sign every file of a folder with a key, or check that with --check."
    )
    parser.add_argument("folder", type=Path, help="an export, a student's folder, data/transfer, …")
    parser.add_argument("--key", type=Path, required=True, help="PEM file: private to sign, public to check")
    parser.add_argument("--check", action="store_true", help="check the signature that lies in the folder")
    options = parser.parse_args(arguments)
    work = verify_folder if options.check else sign_folder
    said = "holds" if options.check else "signed"
    return _told("sign", lambda: f"{said}: {options.folder}, by the key {work(options.folder, options.key)}")


def _told(name: str, work: Callable[[], str]) -> int:
    """Do the work and print what it tells; an error is one line on stderr."""
    try:
        sys.stdout.write(f"{work()}\n")
    except Db3Error as error:
        sys.stderr.write(f"db3 {name}: {' '.join(str(error).split())}\n")
        return 1
    return 0
