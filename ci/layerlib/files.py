"""Finds which source file of a crate uses which, by the paths in its code.

A use counts for the file that defines the name, even if parent modules re-export it. Not a use:

- `pub use self::child::Name` in a parent, unless the parent's own code mentions `Name`, and `mod child;`;
- the import of a module: only the names taken from the module count;
- anything in a unit test;
- methods, because they have no path.
"""

import re

NAME = r"(?:r#)?[A-Za-z_]\w*"
PATH = re.compile(rf"(?<![\w:.]){NAME}(?:\s*::\s*{NAME})+")
USE = re.compile(r"(?<!\w)(pub(?:\s*\([^)]*\))?\s+)?use\s+([^;]+);")
TESTS = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+\s*\{")
TEST_FILES = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*mod\s+(\w+)\s*;")
# Strings, characters and comments. Paths and braces in them do not count. Lifetimes are not characters.
NO_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(?P<hashes>#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?\'(?:\\[^\n]*?|[^\\\'\n])\'', re.S
)


class File:
    """One source file: the path of its module, its imports and its code."""

    def __init__(self, path, module):
        self.path, self.module = path, module
        code = code_of(path)
        self.imports, self.reexports = {}, []
        for found in USE.finditer(code):
            line = line_at(code, found.start())
            for segments, name in leaves(found.group(2)):
                if name == "*":
                    raise SystemExit(f"{path}:{line}: a glob import hides what is used; name it")
                self.imports[name] = (segments, line, bool(found.group(1)))
        self.body = USE.sub(lambda found: "\n" * found.group().count("\n"), code)


class Crate:
    """All files of one `src` folder."""

    def __init__(self, source, name):
        self.name = name
        paths = {module_of(path, source): path for path in sorted(source.rglob("*.rs"))}
        tests = {(*module, test) for module, path in paths.items() for test in TEST_FILES.findall(path.read_text())}
        self.files = {
            module: File(path, module)
            for module, path in paths.items()
            if not any(module[: len(test)] == test for test in tests)
        }

    def uses(self):
        """Returns, for the path of each file, the files that it uses, each with the line of one use."""
        graph = {file.path: {} for file in self.files.values()}
        for file in self.files.values():
            for used, line in self.uses_of(file):
                if used != file.module and used in self.files:
                    graph[file.path].setdefault(self.files[used].path, line)
        return graph

    def uses_of(self, file):
        for name, (segments, line, public) in file.imports.items():
            kind, used = self.resolve(segments, file.module)
            below = used[: len(file.module)] == file.module if kind else False
            if kind == "item" and (not (public and below) or re.search(rf"\b{name}\b", file.body)):
                yield used, line
        for found in PATH.finditer(file.body):
            kind, used = self.resolve(re.split(r"\s*::\s*", found.group()), file.module)
            if kind == "item":
                yield used, line_at(file.body, found.start())

    def resolve(self, segments, module, seen=frozenset()):
        """Resolves a path in `module`: ("item" or "module", its module), or (None, None) if it leads out of the crate."""
        first, rest = segments[0], list(segments[1:])
        if first in ("crate", self.name):
            return self.walk((), rest, seen)
        if first == "self":
            return self.walk(module, rest, seen)
        if first == "super":
            module = module[:-1]
            while rest and rest[0] == "super":
                module, rest = module[:-1], rest[1:]
            return self.walk(module, rest, seen)
        if first in self.files[module].imports or (*module, first) in self.files:
            return self.walk(module, segments, seen)
        return None, None

    def walk(self, module, segments, seen):
        for index, name in enumerate(segments):
            if (*module, name) in self.files:
                module = (*module, name)
                continue
            file = self.files.get(module)
            if file and name in file.imports and (module, name) not in seen:
                kind, found = self.resolve(file.imports[name][0], module, seen | {(module, name)})
                if kind == "module":
                    return self.walk(found, segments[index + 1 :], seen)
                return kind, found
            return "item", module
        return "module", module


def module_of(path, source):
    parts = list(path.relative_to(source).with_suffix("").parts)
    if parts[-1] == "mod" or parts == ["lib"]:
        parts.pop()
    return ("main.rs",) if parts == ["main"] else tuple(parts)


def code_of(path):
    """Returns the code of a file without comments, strings and unit tests. The line numbers stay the same."""
    return without_tests(NO_CODE.sub(lambda found: "\n" * found.group().count("\n"), path.read_text()))


def without_tests(code):
    while found := TESTS.search(code):
        depth, end = 1, found.end()
        while depth and end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        code = code[: found.start()] + "\n" * code.count("\n", found.start(), end) + code[end:]
    return code


def leaves(tree, prefix=()):
    """Yields each path in a `use`, with the name that it gets."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        segments = (*prefix, *(part.strip() for part in path.split("::") if part.strip()))
        if segments[-1] == "self" and len(segments) > 1:
            segments = segments[:-1]
        yield segments, alias.strip() or segments[-1]
        return
    prefix = (*prefix, *(part.strip() for part in tree[:brace].split("::") if part.strip()))
    depth, start = 0, brace + 1
    for index in range(brace, len(tree)):
        depth += {"{": 1, "}": -1}.get(tree[index], 0)
        if (tree[index] == "," and depth == 1) or depth == 0:
            if tree[start:index].strip():
                yield from leaves(tree[start:index], prefix)
            start = index + 1


def line_at(text, index):
    return text.count("\n", 0, index) + 1


def circles(graph):
    """Returns the shortest circle of each group of nodes that reach each other; one per group."""
    left, found = set(graph), []
    while left:
        start = min(left)
        circle = shortest_circle(graph, start, left)
        if circle:
            found.append(circle)
            left -= reaching(graph, start) & reaching(reversed_(graph), start)
        left.discard(start)
    return found


def shortest_circle(graph, start, left):
    queue, before = [start], {}
    for node in queue:
        for other in graph[node]:
            if other == start:
                circle = [node]
                while circle[-1] != start:
                    circle.append(before[circle[-1]])
                return circle[::-1]
            if other in left and other not in before:
                before[other] = node
                queue.append(other)
    return None


def reaching(graph, start):
    seen, queue = {start}, [start]
    for node in queue:
        new = [other for other in graph[node] if other not in seen]
        seen.update(new)
        queue += new
    return seen


def reversed_(graph):
    turned = {node: {} for node in graph}
    for node, others in graph.items():
        for other in others:
            turned[other][node] = None
    return turned
