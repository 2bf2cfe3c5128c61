"""SECURITY.md names a test for each attack, and the test is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support import ROOT

#: A test as the table names it.
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = [
    line
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and line.count(" | ") == 2 and not line.startswith("| ---")
]
ATTACKS = [row for row in ROWS if "tests/" in row]


@cache
def names_in(path: Path) -> set[str]:
    """Return the names of the tests in a file."""
    module = ast.parse(path.read_bytes())
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


def test_the_table_is_read() -> None:
    assert len(ATTACKS) > 40


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.split(" | ")[0][2:60])
def test_each_proof_of_an_attack_is_a_test_that_there_is(row: str) -> None:
    proofs = PROOF.findall(row.split(" | ")[2])

    assert proofs
    assert len(proofs) == row.count("::")
    for path, name in proofs:
        assert name in names_in(ROOT / path), f"{path} has no {name}"


def test_no_attack_is_without_a_proof() -> None:
    heads = {"attack", "somebody who has"}
    _, _, table = (
        (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## Table of attacks")
    )
    rows = [row for row in ROWS if row in table and row.split(" | ")[0][2:] not in heads]

    assert rows == ATTACKS
