"""Business rules as data: read, resolved against the product table, compiled for the solver, explained.

read_rules → RuleBook → compile_rules (against a problem on its ladder) → rows for `solve_prices`;
diagnose says which rules contradict each other and what it would cost least to give up.
"""

from optimizers.rules.basis import Basis
from optimizers.rules.compile import CompiledRules, compile_rules
from optimizers.rules.kinds import KINDS
from optimizers.rules.read import read_rules
from optimizers.rules.record import Facts, Rule, RuleBook, Scope

__all__ = ["KINDS", "Basis", "CompiledRules", "Facts", "Rule", "RuleBook", "Scope", "compile_rules", "read_rules"]
