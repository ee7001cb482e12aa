"""What a preparation does to each case: the steps and contrasts of a recipe, or steps that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mrsynth.core.errors import RecipeError
from mrsynth.core.types import b_of, contrast_name
from mrsynth.core.yaml import parse_yaml, read_yaml_text
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.contract import Contract
from mrsynth.recipes.recipe import Recipe
from mrsynth.steps import complete_steps
from mrsynth.steps.absent import steps_without
from mrsynth.steps.needs import contrasts_to_read, is_at_hand


@dataclass(frozen=True)
class Plan:
    """What is done to each case.

    Attributes:
        name: of the recipe (of a model, its recipe's), or "steps".
        steps: with all settings.
        contrasts: those that every prepared case has.
        asked: the steps before any of them learned from the training cases.
        may_lack: whether a case may lack some of the contrasts; one it must have.
    """

    name: str
    steps: list[dict[str, dict[str, Any]]]
    contrasts: list[str]
    asked: list[dict[str, dict[str, Any]]]
    may_lack: bool = False

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Plan:
        """Return the plan of a recipe."""
        return cls(recipe.name, recipe.prepare, recipe.contrasts, recipe.prepare, recipe.method.MAY_LACK)

    @classmethod
    def of_steps(cls, text: str, cohort: Cohort, contrasts: Sequence[str] = ()) -> Plan:
        """Return the plan that `--steps` means: a YAML list, or a file that holds one.

        Args:
            text: e.g. "[register: {to: t1}, resample, brain_mask, zscore]", or the path of a .yaml or .yml file.
            cohort: the cases that will be prepared.
            contrasts: those to prepare, by default all that every case of the cohort has.

        Raises:
            RecipeError: the text is no such list, or no contrast is there in every case.
        """
        steps = complete_steps(_listed(text))
        # What every case has; an ADC counts where its diffusion images are there.
        everywhere = [n for n in cohort.contrasts if all(n in row.files for row in cohort.rows)]
        makes_adc = any("adc" in step for step in steps)
        if makes_adc and "adc" not in everywhere:
            everywhere = [n for n in everywhere if b_of(n) is None] + ["adc"]
        chosen = [contrast_name(name) for name in contrasts] or everywhere
        if not chosen:
            raise RecipeError(
                "No contrast is there in every case.",
                found=", ".join(cohort.contrasts),
                do="name those to prepare: --contrasts t1,t2",
            )
        return cls("steps", steps, chosen, steps)

    @classmethod
    def of_model(cls, contract: Contract, cohort: Cohort) -> Plan:
        """Return the plan by which a model's training cases were prepared, with what its steps learned from them.

        Args:
            contract: of the model.
            cohort: the cases that will be prepared; where one lacks the target, the inputs alone are.
        """
        if contract.contrasts:
            return cls(contract.recipe, contract.steps, contract.contrasts, contract.steps, may_lack=True)
        target = [contract.target]
        if not all(is_at_hand(row.files, contract.target, contract.steps) for row in cohort.rows):
            target = []
        contrasts = [*contract.inputs, *target]
        steps = contract.steps if target else steps_without(contract.steps, [contract.target])
        steps = complete_steps(steps)
        return cls(contract.recipe, steps, contrasts, steps)

    def learned(self, steps: list[dict[str, dict[str, Any]]]) -> Plan:
        """Return the plan with steps that have learned."""
        return replace(self, steps=steps)

    def to_read(self, row: CaseRow) -> list[str]:
        """Return the contrasts to read of a case."""
        lacking = self.lacking(row)
        wanted = [name for name in self.contrasts if name not in lacking] or self.contrasts
        return contrasts_to_read(row.files, wanted, self.steps)

    def lacking(self, row: CaseRow) -> list[str]:
        """Return the contrasts that a case may do without and has not."""
        if not self.may_lack:
            return []
        return [name for name in self.contrasts if not is_at_hand(row.files, name, self.steps)]

    def steps_for(self, row: CaseRow) -> list[dict[str, dict[str, Any]]]:
        """Return the steps as they run on a case: without what concerns contrasts that it lacks."""
        lacking = self.lacking(row)
        return steps_without(self.steps, lacking, lacking) if lacking else self.steps


def _listed(text: str) -> list[Any]:
    """Return the list of steps in a file or in the text itself, names without settings as {name: {}}."""
    path = Path(text)
    steps = _of_file(path) if path.suffix in (".yaml", ".yml") else _of_text(text, "--steps")
    if not isinstance(steps, list) or not steps:
        raise RecipeError("--steps is no list of steps.", found=text, expected="e.g. 'register, resample, zscore'")
    return [{step: {}} if isinstance(step, str) else step for step in steps]


def _of_text(text: str, where: str) -> Any:
    """Return what --steps says: a YAML list, of which the brackets may be left out."""
    return parse_yaml(text if text.lstrip().startswith(("[", "-")) else f"[{text}\n]", where)


def _of_file(path: Path) -> Any:
    """Return what a file of steps holds: a YAML list, comments and all, or what --steps itself may say."""
    text = read_yaml_text(path)
    try:
        steps = parse_yaml(text, str(path))
    except RecipeError:
        steps = None
    return steps if isinstance(steps, list) else _of_text(text, str(path))
