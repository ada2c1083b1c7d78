"""Which code of this project a module needs, read from the source without importing anything."""

import ast
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_files() -> dict[str, Path]:
    """Every module of db3/ and flows/ by its dotted name."""
    files = [path for package in ("db3", "flows") for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(path: Path, names: Iterable[str] | None = None) -> dict[str, set[str]]:
    """Modules of this project that a file imports when it runs, each with the names that are taken from it.

    Args:
        path: a Python file.
        names: consider only these functions and classes of the file, what they use of it, and what stands outside any.
    """
    known, found = module_files(), dict[str, set[str]]()
    for node in _used(ast.parse(path.read_text(encoding="utf-8")), names):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                module, taken = (inner, set()) if inner in known else (node.module, {alias.name})
                if module in known:
                    found.setdefault(module, set()).update(taken)
    return found


def needed(name: str, leaves: Collection[str] = ()) -> set[Path]:
    """The files, relative to the root, of all code that running a module may reach."""
    return set(reached(name, leaves))


def reached(name: str, leaves: Collection[str] = ()) -> dict[Path, list[ast.AST]]:
    """All code that running a module may reach: files, relative to the root, each with its syntax nodes.

    Args:
        name: of the module.
        leaves: files whose own imports are not followed.
    """
    known, done = module_files(), dict[str, set[str] | None]()
    todo: list[tuple[str, set[str] | None]] = [(name, None)]
    while todo:
        module, names = todo.pop()
        before = done.get(module, set())
        if module in done and (before is None or (names is not None and names <= before)):
            continue
        done[module] = None if names is None or before is None else before | names
        if known[module].relative_to(ROOT).as_posix() not in leaves:
            todo.extend(imports(known[module], done[module]).items())
    return {
        known[module].relative_to(ROOT): list(_used(ast.parse(known[module].read_text(encoding="utf-8")), names))
        for module, names in done.items()
    }


def _used(tree: ast.Module, names: Iterable[str] | None) -> Iterator[ast.AST]:
    defined = {node.name: node for node in tree.body if isinstance(node, Definition)}
    todo: list[ast.AST] = [node for node in tree.body if not isinstance(node, Definition)]
    todo += defined.values() if names is None else [defined.pop(name) for name in names if name in defined]
    while todo:
        for node in _running(todo.pop()):
            yield node
            if names is not None and isinstance(node, ast.Name) and node.id in defined:
                todo.append(defined.pop(node.id))


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for what stands under `if TYPE_CHECKING:`."""
    if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _running(child)
