"""Reads the imports of the framework and lists the ones that break the order of its rooms."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "glasswright"

# The order of the rooms, roof first. A room is a folder or a file; a room imports only what stands in a later line.
# Files that share a line are treated as the files of one folder: they may import each other, but not in a circle.
ORDER: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__"),
    ("__init__", "api", "neighbors"),
    ("commands",),
    ("testing",),
    ("reports",),
    ("jobs",),
    ("config",),
    ("exchange",),
    ("run",),
    ("plots",),
    ("relax",),
    ("evaluation",),
    ("registry",),
    ("components",),
    ("physics",),
    ("execution",),
    ("_compiled", "_environment", "_errors", "_jax", "_types", "hookspecs"),
)
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}

# Hydra and OmegaConf stay in one room and in the file that starts Hydra applications.
HYDRA = ("hydra", "omegaconf")
HYDRA_ROOM = "config"
HYDRA_FILE = "cli.application"

# A toolbox for protocols, which are plugins. Its other users are the public names that a plugin author sees.
TOOLBOX = "relax"


@dataclass(frozen=True)
class Import:
    """An import statement's target, and the file and line that name it."""

    source: str  # dotted, within the package
    line: int
    target: str  # dotted; of a file of the package, like `source`
    internal: bool  # whether the target is in the package

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


def violations(package: Path) -> list[str]:
    """List everything in the package at this path that breaks a rule, one sentence each."""
    files = modules(package)
    imports = [item for name, path in files.items() for item in imports_of(name, path, set(files))]
    # A statement that imports several names from a file is one import of that file.
    imports = list(dict.fromkeys(imports))
    return [*strays(files), *upward(imports), *circles(imports), *misplaced(imports)]


def modules(package: Path) -> dict[str, Path]:
    """Map the dotted name of each file within the package to its path. A folder's own file keeps `__init__`."""
    paths = sorted(package.rglob("*.py"))
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in paths}


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(name: str, path: Path, files: set[str]) -> Iterator[Import]:
    """Yield every import of a file: at its top, within functions, and by `import_module` with a literal name."""
    folder = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if not isinstance(node, ast.stmt | ast.expr):
            continue
        for dotted in imported_names(node, folder):
            internal = room_of(dotted) == PACKAGE
            target = file_of(dotted.split(".")[1:], files) if internal else dotted
            yield Import(name, node.lineno, target, internal)


def imported_names(node: ast.stmt | ast.expr, folder: list[str]) -> list[str]:
    """Return the absolute dotted names that a statement or a call imports."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(names=names):
            base = absolute(node.level, node.module or "", folder)
            return [f"{base}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Name(id=function) | ast.Attribute(attr=function), args=[ast.Constant(value=str(text)), *_]
        ):
            if function in ("import_module", "__import__"):
                level = len(text) - len(text.lstrip("."))
                return [absolute(level, text[level:], folder)]
    return []


def absolute(level: int, module: str, folder: list[str]) -> str:
    """Resolve an import with `level` leading dots in a file of `folder`."""
    if level == 0:
        return module
    base = [PACKAGE, *folder][: len(folder) + 2 - level]
    return ".".join([*base, module] if module else base)


def file_of(parts: list[str], files: set[str]) -> str:
    """Name the file that an imported name comes from: the longest prefix that is a module."""
    for length in range(len(parts), -1, -1):
        prefix = parts[:length]
        for candidate in (".".join(prefix), ".".join([*prefix, "__init__"])):
            if candidate in files:
                return candidate
    return ".".join(parts)


def strays(files: dict[str, Path]) -> list[str]:
    """List files outside of every room, and rooms that are only a name in the order."""
    rooms = {room_of(name) for name in files}
    outside = [f"{name} is in no room" for name in files if room_of(name) not in FLOOR]
    return outside + [f"the room {room} does not exist" for room in sorted(FLOOR.keys() - rooms)]


def upward(imports: list[Import]) -> list[str]:
    """List imports of a room that stands above the importing one."""
    inside = [item for item in imports if item.internal and room_of(item.source) in FLOOR]
    complaints = []
    for item in inside:
        source, target = room_of(item.source), room_of(item.target)
        if FLOOR.get(target, -1) < FLOOR[source]:
            complaints.append(f"{item}: {target} is above {source}")
    return complaints


def circles(imports: list[Import]) -> list[str]:
    """List circles of imports among the files of a floor, each once."""
    graph: dict[str, set[str]] = {}
    for item in imports:
        source, target = room_of(item.source), room_of(item.target)
        if item.internal and item.source != item.target and FLOOR.get(source) == FLOOR.get(target):
            graph.setdefault(item.source, set()).add(item.target)
    complaints = []
    reported: set[str] = set()
    for start in sorted(graph):
        if start not in reported and (path := way_back(graph, start)):
            reported.update(path)
            complaints.append(f"circle: {' > '.join([*path, start])}")
    return complaints


def way_back(graph: dict[str, set[str]], start: str) -> list[str]:
    """Return the shortest chain of imports that leads from a file back to itself, empty if there is none."""
    paths = [[start]]
    seen = set()
    while paths:
        path = paths.pop(0)
        for target in sorted(graph.get(path[-1], ())):
            if target == start:
                return path
            if target not in seen:
                seen.add(target)
                paths.append([*path, target])
    return []


def misplaced(imports: list[Import]) -> list[str]:
    """List imports that only certain rooms may make: Hydra, the toolbox of protocols, and plugins (none may)."""
    complaints = []
    for item in imports:
        room = room_of(item.source)
        if room_of(item.target) in HYDRA and room != HYDRA_ROOM and item.source != HYDRA_FILE:
            complaints.append(f"{item}: only {HYDRA_ROOM} and {HYDRA_FILE} may")
        if item.internal and room_of(item.target) == TOOLBOX != room:
            complaints.append(f"{item}: {TOOLBOX} is for protocols, no room of the framework uses it")
        if room_of(item.target) == "glasswright_plugins":
            complaints.append(f"{item}: the framework knows no plugin")
    return complaints


if __name__ == "__main__":
    print("\n".join(violations(Path(__file__).parents[1] / "framework" / PACKAGE)) or "no violations")
