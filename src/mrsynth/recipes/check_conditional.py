"""Whether the parts of a recipe with a condition (pinetz2023) fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrsynth.errors import RecipeError

if TYPE_CHECKING:
    from mrsynth.recipes.recipe import Recipe


def check_conditional(recipe: Recipe) -> None:
    """Raise RecipeError where a network that is told dose and field lacks its condition or its game, or stands beside
    what its training knows nothing of."""
    import torch

    from mrsynth.nets import build_net
    from mrsynth.nets.critic import Critic
    from mrsynth.nets.lowdose import LowDose

    where, condition, wgan = f"Recipe {recipe.name}", recipe.condition, recipe.wgan
    with torch.device("meta"):
        told = isinstance(build_net(recipe.net.name, **recipe.net.settings), LowDose)
    if not (told == (condition is not None) == (wgan is not None)):
        raise RecipeError(
            f"{where}: the network lowdose, `condition` and `wgan` go together.",
            found=f"net {recipe.net.name}, condition {condition}, wgan {'null' if wgan is None else 'set'}",
            do="set all three as in pinetz2023, or condition and wgan to null and another network",
        )
    if condition is None or wgan is None:
        return
    with torch.device("meta"):
        critic = build_net(wgan.critic.name, **wgan.critic.settings)
    if not isinstance(critic, Critic):
        raise RecipeError(f"{where}: this network cannot be its critic.", found=wgan.critic.name, expected="critic")
    if len(recipe.task.inputs) != 2:
        raise RecipeError(
            f"{where}: a low dose is made from the native scan and the one at standard dose.",
            found=", ".join(recipe.task.inputs),
            expected="two inputs, t1 and t1ce",
        )
    patch, train = recipe.samples.patch, recipe.train
    others = {"game": recipe.game, "missing": recipe.missing, "train.stages": train.stages or None}
    if found := [name for name, section in others.items() if section is not None]:
        raise RecipeError(f"{where}: `wgan` cannot be trained with {found[0]}.", do=f"set {found[0]} to null")
    if train.devices != 1 or train.nodes != 1:
        raise RecipeError(
            f"{where}: the game with a gradient penalty was not tried on several devices.",
            found=f"train.devices {train.devices}, train.nodes {train.nodes}",
            expected="1 and 1",
        )
    if patch is not None and min(edge or critic.smallest for edge in patch.size) < critic.smallest:
        raise RecipeError(
            f"{where}: the boxes are too small for the critic.",
            found=f"samples.patch.size {list(patch.size)}",
            expected=f"at least {critic.smallest} voxels along each axis",
        )
    needed = (wgan.critic_steps - 1) * train.batch_size + 1
    if patch is not None and patch.per_epoch < needed:
        raise RecipeError(
            f"{where}: an epoch has no step of the generator.",
            found=f"samples.patch.per_epoch {patch.per_epoch}, batches of {train.batch_size}",
            expected=f"at least {needed} boxes: {wgan.critic_steps} batches are one iteration",
        )
