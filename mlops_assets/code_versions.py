"""An asset's code version, from the code that it is made of rather than from a number that somebody must keep."""

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def code_version(*modules: str, files: Sequence[Path] = ()) -> str:
    """Hash the syntax trees of modules of this project, so that comments, layout and docstrings change nothing.

    Args:
        modules: Dotted names, such as `mlops_assets.photos.intake`.
        files: What else belongs to the code; their content counts.
    """
    digest = hashlib.sha256()
    for module in modules:
        digest.update(_module_hash(module))
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


@cache
def _module_hash(module: str) -> bytes:
    path = PROJECT.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_string(statement)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).digest()


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
