"""One step of gradient descent, on a device that is not waited for and may run out of memory."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from ml.imbalance import IMBALANCE, classification_loss
from ml.recipes import LABEL_SMOOTHING, Recipe
from ml.training_state import State, TrainingError, update_average

Batch = tuple[Tensor, Tensor]
_LARGEST_GRADIENT: Final = 5.0


def train_step(state: State, batch: Batch, recipe: Recipe, log_prior: Tensor) -> Tensor:
    """Loss and accuracy [2] of the batch (inputs, labels), left on its device."""
    inputs, labels = batch
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=recipe.bfloat16):
        logits = state.member(inputs)
    loss = classification_loss(
        IMBALANCE[recipe.imbalance].loss,
        logits.float(),
        labels,
        log_prior=log_prior,
        smoothing=LABEL_SMOOTHING,
    )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.member.parameters(), _LARGEST_GRADIENT)
    state.optimizer.step()
    state.step += 1
    update_average(state.average, state.member, decay=recipe.average_decay, step=state.step)
    accuracy = (logits.argmax(dim=1) == labels).float().mean()
    return torch.stack([loss.detach(), accuracy])


def within_memory(state: State, step: Callable[[], Tensor]) -> Tensor | None:
    """What the step gives; None after it ran out of memory, with the batch halved for the next.

    Raises:
        TrainingError: not even one picture fits.

    """
    try:
        return step()
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    # Only here, after the error has let go of the step's tensors, can their memory be given back.
    state.optimizer.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    if state.batch == 1:
        raise TrainingError(
            "not even one picture fits into memory: close other programs, or use a smaller input"
        )
    state.batches.append(state.batch // 2)
    return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
