"""What the checks before a run find: errors, warnings and facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from lpd_core.errors import LpdError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found; `mend` says what to do about it."""

    level: Literal["error", "warning"]
    what: str
    mend: str = ""


@dataclass
class Preflight:
    """What the checks found and what can be told: prompts, tokens, memory, one example of each chat."""

    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> list[Finding]:
        """Findings that stop the run."""
        return [finding for finding in self.findings if finding.level == "error"]

    def error(self, what: object, mend: str = "") -> None:
        """Note something that stops the run."""
        self.findings.append(Finding("error", str(what), mend))

    def warn(self, what: str, mend: str = "") -> None:
        """Note something to know."""
        self.findings.append(Finding("warning", what, mend))

    def guard(self, work: Callable[..., Result], *arguments: Any) -> Result | None:
        """What the work gives; None, with an error noted, where it raises a foreseeable one."""
        try:
            return work(*arguments)
        except LpdError as cause:
            self.error(cause)
            return None
