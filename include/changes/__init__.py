"""What an edit of a declaration means for what is in production: values in, classes of changes out.

`compare` finds the changed fields, and `classify` says of each what it means. Nothing here reads a database or runs
anything that is declared.
"""

from include.changes.classification import Production, classify
from include.changes.comparison import FieldDifference, FormerDeclaration, compare, former_declaration
from include.changes.dags import dag_changes

__all__ = [
    "FieldDifference",
    "FormerDeclaration",
    "Production",
    "classify",
    "compare",
    "dag_changes",
    "former_declaration",
]
