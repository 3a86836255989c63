"""Faulty variants of a client's own code, made from its text line by line.

A statement is deleted, a condition turned, a constant changed, or two statements
swap places. Strings and comments are left alone.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

_C_LIKE = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`(?:\\.|[^`\\])*`',
    re.DOTALL,
)
_PYTHON = re.compile(
    r'#[^\n]*|""".*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
_TURNED = {
    " == ": " != ",
    " != ": " == ",
    " === ": " !== ",
    " !== ": " === ",
    " < ": " <= ",
    " <= ": " < ",
    " > ": " >= ",
    " >= ": " > ",
    " && ": " || ",
    " || ": " && ",
    " and ": " or ",
    " or ": " and ",
}
_OPERATOR = re.compile("|".join(map(re.escape, sorted(_TURNED, key=len, reverse=True))))
_CONSTANT = re.compile(r"(?<![\w.\[])(?:\d+|true|false|True|False)(?![\w.\]])")
_LOGICAL = {"true": "false", "false": "true", "True": "False", "False": "True"}
_IF = {
    ".go": re.compile(r"^\s*(?:\} else )?if (?:.*; )?(?P<it>.+) \{$"),
    ".js": re.compile(
        r"^\s*(?:\} else )?if \((?P<it>.+?)\)(?: \{| [\w#.]+(?: .*|\(.*)?;)$"
    ),
    ".py": re.compile(r"^\s*(?:el)?if (?P<it>.+):$"),
}
_STATEMENT = {
    ".go": re.compile(
        r"^(?:(?:go |defer )?[\w.]+\(.*\)|(?!const |var )[\w.\[\]*, ]+ [-+|&]?= .+|[\w.]+(?:\+\+|--)"
        r"|return|break|continue)$"
    ),
    ".js": re.compile(
        r"^(?!const |let |import |export |return .|throw |static |else |#\w+ = |#?\w+;)[\w#(].*;$"
    ),
}


@dataclass(frozen=True)
class Variant:
    """A file of a client in which one thing has been changed."""

    file: str
    kind: str
    line: int
    before: str
    after: str
    code: str


def sample(
    root: Path, files: list[str], left_out: Collection[str], count: int, seed: int
) -> list[Variant]:
    """Return ``count`` variants, in turn of each file and kind, the same for each seed."""
    groups: dict[tuple[str, str], list[Variant]] = {}
    for file in files:
        for variant in variants(root, file, left_out):
            groups.setdefault((file, variant.kind), []).append(variant)
    chance = random.Random(seed)
    for group in groups.values():
        chance.shuffle(group)
    order = list(groups.values())
    chance.shuffle(order)
    rounds = chain.from_iterable(zip_longest(*order))
    return [one for one in rounds if one is not None][:count]


def variants(
    root: Path, file: str, left_out: Collection[str] = frozenset()
) -> Iterator[Variant]:
    """Yield every variant of a file, except of the functions that are ``left_out``."""
    code = (root / file).read_text("utf-8")
    ending = Path(file).suffix
    lines = code.splitlines()
    masked = without_declarations(mask(code, ending).splitlines())
    skipped = rows_of(code, left_out) if ending == ".py" else set()
    statements = statements_of(code, masked, ending) - skipped
    seen = set()
    for row, text in enumerate(masked):
        if row in skipped or not text.strip():
            continue
        for kind, new, rows in changes(row, text, lines, statements, ending):
            changed = lines[:row] + new + lines[row + rows :]
            before = " / ".join(line.strip() for line in lines[row : row + rows])
            after = " / ".join(line.strip() for line in new)
            if before != after and (row, after) not in seen:
                seen.add((row, after))
                yield Variant(file, kind, row + 1, before, after, "\n".join(changed) + "\n")


def changes(
    row: int, text: str, lines: list[str], statements: set[int], ending: str
) -> Iterator[tuple[str, list[str], int]]:
    """Yield (kind, new lines, how many lines they stand for)."""
    line = lines[row]
    indent = line[: len(line) - len(line.lstrip())]
    if row in statements:
        yield "deleted", [f"{indent}pass"] if ending == ".py" else [], 1
        is_same = row + 1 in statements and is_indented_as(lines[row + 1], indent)
        if is_same and not (is_assignment(line) and is_assignment(lines[row + 1])):
            yield "swapped", [lines[row + 1], line], 2
    if (found := _IF[ending].match(text)) and is_balanced(found["it"]):
        start, end = found.span("it")
        negation = "not " if ending == ".py" else "!"
        yield "turned", [f"{line[:start]}{negation}({line[start:end]}){line[end:]}"], 1
    for found in _OPERATOR.finditer(text):
        yield "turned", [replaced(line, found, _TURNED[found[0]])], 1
    for found in _CONSTANT.finditer(text):
        new = _LOGICAL.get(found[0]) or str(int(found[0]) + 1)
        yield "constant", [replaced(line, found, new)], 1


def replaced(line: str, found: re.Match[str], new: str) -> str:
    return line[: found.start()] + new + line[found.end() :]


def is_indented_as(line: str, indent: str) -> bool:
    return line.startswith(indent) and not line[len(indent) :].startswith((" ", "\t"))


def is_assignment(line: str) -> bool:
    """Whether a line does nothing that another could notice but to set something."""
    return " = " in line and "(" not in line


def is_balanced(text: str) -> bool:
    return all(text.count(one) == text.count(other) for one, other in ("()", "[]", "{}"))


def mask(code: str, ending: str) -> str:
    """Return the code with as many characters, without its comments and strings."""

    def blank(found: re.Match[str]) -> str:
        filler = " " if found[0].startswith(("/", "#", '"""')) else "_"
        return re.sub(r"[^\n]", filler, found[0])

    text = (_PYTHON if ending == ".py" else _C_LIKE).sub(blank, code)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def without_declarations(masked: list[str]) -> list[str]:
    """Blank what stands outside of functions in Go: types, and constants by name."""
    kept, in_block = [], False
    for text in masked:
        in_block = in_block or bool(re.match(r"(?:const|var|type|import) .*[({]$", text))
        is_one = bool(re.match(r"(?:type|import) ", text))
        kept.append("" if in_block or is_one else text)
        in_block = in_block and text not in (")", "}")
    return kept


def statements_of(code: str, masked: list[str], ending: str) -> set[int]:
    """Return the rows that are statements of one line, which may be left out."""
    if ending == ".py":
        return set(python_statements(code))
    found, before = set(), "{"
    for row, text in enumerate(masked):
        stripped = text.strip()
        begins = before.endswith((";", "{", "}", ":")) or ending == ".go"
        if begins and _STATEMENT[ending].match(stripped) and is_balanced(stripped):
            found.add(row)
        before = stripped or before
    return found


def python_statements(code: str) -> Iterator[int]:
    for function in functions(code):
        for node in ast.walk(function):
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            kinds = (ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.Delete, ast.Break)
            if isinstance(node, kinds) and node.lineno == node.end_lineno and not is_text:
                yield node.lineno - 1


def functions(code: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]


def rows_of(code: str, names: Collection[str]) -> set[int]:
    """Return the rows of functions and classes with these names."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        row
        for node in ast.walk(ast.parse(code))
        if isinstance(node, kinds) and node.name in names
        for row in range(node.lineno - 1, node.end_lineno or node.lineno)
    }
