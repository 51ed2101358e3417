"""One check: what was compared, the figure, whether it is as it should be, and what to do where it is not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What was compared and the figure; `passed` says whether it is as it should be (None: nothing here can tell, or it
    is no fault but worth knowing), `remedy` what to do where it is not.
    """

    name: str
    passed: bool | None
    detail: str
    remedy: str = ""

    def __str__(self):
        verdict = {True: "passed", False: "FAILED", None: "note  "}[self.passed]
        return f"{verdict}  {self.name}: {self.detail}" + (f"; {self.remedy}" if self.remedy and not self.passed else "")
