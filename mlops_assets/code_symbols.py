"""What a function of this project is made of, read from source: the symbols that it reaches, and foreign packages.

Nothing is imported or run. A symbol is a top-level name of a module of the project; the closure follows names from
symbol to symbol, also through imports inside functions. What is not followed, and why:

- annotations: they name what a caller brings (rules, stores), which is configuration or an adapter, not code;
- `resources`, sensors and Dagster: they carry data or decide when it is made, and make none;
- modules of `PRESENTATION`: what a person sees beside a table.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = "mlops_assets"
PRESENTATION = frozenset(
    {
        *("mlops_assets.metadata", "mlops_assets.progress", "mlops_assets.catalog.samples"),
        *("mlops_assets.detector.evaluation_charts", "mlops_assets.detector.evaluation_pictures"),
    }
)
ORCHESTRATION = frozenset(
    {"dagster", "resources", "sensors", "mlops_assets.code_versions", "mlops_assets.compute", "mlops_assets.lineage"}
)


@dataclass(frozen=True, order=True)
class Symbol:
    """A top-level name of a module of the project; an empty name is what a module runs when it is imported."""

    module: str
    name: str


@dataclass
class Module:
    """One source file: statements by the names that they bind, and what its imports bind."""

    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)


@dataclass
class Reached:
    """The closure: symbols of the project and top-level names of packages from elsewhere."""

    symbols: set[Symbol] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)


def reach(start: Symbol) -> Reached:
    """Everything that a symbol is made of, itself included.

    Raises:
        LookupError: A module has no such top-level name.
    """
    reached, waiting = Reached(), [start]
    while waiting:
        symbol = waiting.pop()
        if symbol in reached.symbols:
            continue
        reached.symbols.add(symbol)
        found = _references(symbol)
        reached.packages |= found.packages
        waiting += sorted(found.symbols - reached.symbols)
    return reached


def syntax(symbol: Symbol) -> str:
    """The statements of a symbol as text: without comments, layout, docstrings and, of an asset, decorators."""
    return "\n".join(_text(statement) for statement in _statements(symbol))


@cache
def _text(statement: ast.stmt) -> str:
    return ast.dump(statement)


@cache
def _references(symbol: Symbol) -> Reached:
    module = read_module(symbol.module)
    found = Reached(symbols={Symbol(symbol.module, "")} if symbol.name and "" in module.statements else set())
    for statement in _statements(symbol):
        bound = module.imports | dict(_imports_within(statement, symbol.module))
        for path in _names(statement):
            _resolve(path, symbol.module, module, bound, found)
    return found


def _statements(symbol: Symbol) -> list[ast.stmt]:
    statements = read_module(symbol.module).statements
    if symbol.name not in statements:
        raise LookupError(f"{symbol.module} has no top-level name {symbol.name!r}")
    return statements[symbol.name]


def _resolve(
    path: tuple[str, ...], here: str, module: Module, bound: dict[str, tuple[str, str | None]], found: Reached
) -> None:
    first, *rest = path
    if first in bound:
        _follow(bound[first], tuple(rest), found)
    elif first in module.statements:
        found.symbols.add(Symbol(here, first))


def _follow(target: tuple[str, str | None], attributes: tuple[str, ...], found: Reached) -> None:
    """Add what an imported name stands for: a symbol, a whole module of the project, or a foreign package."""
    module, name = target
    if name is not None and is_module(f"{module}.{name}"):
        module, name = f"{module}.{name}", None
    if any(module == other or module.startswith(f"{other}.") for other in ORCHESTRATION | PRESENTATION):
        return
    if not is_module(module):
        package = module.split(".")[0]
        if package not in sys.stdlib_module_names:
            found.packages.add(package)
        return
    wanted = name or (attributes[0] if attributes else None)
    names = read_module(module).statements
    if wanted is not None and wanted in names:
        found.symbols.add(Symbol(module, wanted))
    elif wanted is not None and wanted in read_module(module).imports:
        _follow(read_module(module).imports[wanted], attributes[1:] if name is None else attributes, found)
    else:  # the module itself is handed on: all of it may be used
        found.symbols |= {Symbol(module, each) for each in names}


@cache
def is_module(name: str) -> bool:
    """Whether a dotted name is a module of the project that makes data."""
    return name.startswith(f"{PACKAGE}.") and _path(name).is_file()


def _path(name: str) -> Path:
    return PROJECT.joinpath(*name.split(".")).with_suffix(".py")


@cache
def read_module(name: str) -> Module:
    """A module of the project by its top-level names."""
    return parse(name, _path(name).read_text(encoding="utf-8"))


@cache
def parse(name: str, source: str) -> Module:
    """The top-level names of a module with this source."""
    tree = _WithoutDocstrings().visit(ast.parse(source))
    module = Module()
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports.update(_bindings(statement, name))
        elif not _is_for_type_checkers(statement):
            for bound in _bound_names(statement) or [""]:
                module.statements.setdefault(bound, []).append(statement)
    return module


def _bindings(statement: ast.Import | ast.ImportFrom, here: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield (alias.asname or alias.name.split(".")[0]), (alias.name, None)
        return
    parents = here.split(".")[: -statement.level] if statement.level else []
    module = ".".join([*parents, *([statement.module] if statement.module else [])])
    for alias in statement.names:
        yield (alias.asname or alias.name), (module, alias.name)


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _imports_within(statement: ast.stmt, here: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _bindings(node, here)


def _names(node: ast.AST, local: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """Dotted names that a statement takes from outside itself, annotations left out, as `("files", "ONNX")`."""
    dotted = _dotted(node)
    if dotted:
        if dotted[0] not in local:
            yield dotted
        return
    if isinstance(node, _SCOPES):
        local |= _bound_in(node)
    for child in _children(node):
        yield from _names(child, local)


_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, *_COMPREHENSIONS)


def _bound_in(scope: ast.AST) -> set[str]:
    """Parameters and variables of a function or comprehension, those of scopes inside it left out."""
    names: set[str] = set()
    waiting = [scope]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not scope:
            names.add(node.name)
        inner = isinstance(node, _SCOPES) and node is not scope
        waiting += [] if inner else ast.iter_child_nodes(node)
    return names


def _dotted(node: ast.AST) -> tuple[str, ...]:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def _children(node: ast.AST) -> Iterable[ast.AST]:
    skipped = {"annotation", "returns"}
    for name, value in ast.iter_fields(node):
        if name not in skipped:
            yield from (value if isinstance(value, list) else [value]) if _holds_nodes(value) else ()


def _holds_nodes(value: object) -> bool:
    return isinstance(value, ast.AST) or (isinstance(value, list) and all(isinstance(item, ast.AST) for item in value))


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops docstrings, strings that stand alone, and the decorators by which Dagster takes an asset."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = [statement for statement in node.body if not _is_string(statement)]
            node.body = body or ([] if isinstance(node, ast.Module) else [ast.Pass()])
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = [each for each in node.decorator_list if not ast.unparse(each).startswith("dg.")]
        return node


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
