"""A mutation operator that cosmic-ray lacks: take one statement away.

It shows whether a test notices that a protection is gone: a check that raises,
an early return, a call that releases something, the change of an attribute.
Assignments to local names stay, as code that reads the name would fail anyhow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword


class RemoveStatement(Operator):
    """Replace a call, a raise, a return, a del or the change of an attribute by ``pass``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _matters(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        statement = node.children[0]
        node.children[0] = Keyword(
            "pass", statement.start_pos, statement.get_first_leaf().prefix
        )
        node.children[0].parent = node
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("f()", "pass"),
            Example("x.y = 1", "pass"),
            Example("x += 1", "pass"),
            Example("def f():\n    return 1\n", "def f():\n    pass\n"),
        )


def _matters(statement: Any) -> bool:
    if statement.type == "expr_stmt":
        target, operator = statement.children[:2]
        is_augmented = operator.type == "operator" and operator.value != "="
        return bool(is_augmented or target.type != "name")
    if statement.type == "keyword":
        return statement.value in {"return", "raise"}
    if (
        statement.type == "return_stmt"
        and statement.children[1].get_code().strip() == "False"
    ):
        return False  # None instead is as false
    return statement.type in {
        "atom_expr", "await", "power", "raise_stmt", "return_stmt", "del_stmt",
    }  # fmt: skip


class Provider:
    """What cosmic-ray asks for operators."""

    def __iter__(self) -> Iterator[str]:
        return iter(["RemoveStatement"])

    def __getitem__(self, name: str) -> type[Operator]:
        return {"RemoveStatement": RemoveStatement}[name]
