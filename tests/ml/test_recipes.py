import numpy as np
import pytest

from ml.members import MEMBERS
from ml.recipes import RECIPES, Budget, learning_rate_factor


@pytest.mark.parametrize("warm_up", [0.03, 1 / 24])
def test_the_learning_rate_warms_up_and_ends_at_nought(warm_up):
    factors = [learning_rate_factor(done, warm_up=warm_up) for done in np.linspace(0.0, 1.0, 101)]
    assert factors[0] < 0.1
    assert max(factors) == pytest.approx(1.0, abs=0.01)
    assert factors[-1] == pytest.approx(0.0, abs=1e-9)
    assert factors[5:] == sorted(factors[5:], reverse=True)


def test_a_budget_is_spent_by_the_clock_or_by_epochs():
    assert Budget(60.0, "seconds").spent(seconds=15.0, epochs=9.0) == 0.25
    assert Budget(4, "epochs").spent(seconds=99.0, epochs=1.0) == 0.25


def test_a_whole_number_of_equal_steps_ends_an_epoch_budget_exactly():
    for steps in range(1, 400):
        budget = Budget(steps / 7, "epochs")
        assert budget.spent(seconds=0.0, epochs=steps / 7) >= 1.0
        assert budget.spent(seconds=0.0, epochs=(steps - 1) // 7 + (steps - 1) % 7 / 7) < 1.0


def test_both_recipes_train_every_member():
    for recipes in RECIPES.values():
        assert set(recipes) == set(MEMBERS)
        for name, recipe in recipes.items():
            assert recipe.config.name == name


def test_on_a_gpu_the_pictures_are_at_least_as_large_and_precision_is_mixed():
    for name, recipe in RECIPES["gpu"].items():
        assert recipe.config.input_size >= MEMBERS[name].input_size
        assert recipe.bfloat16
        assert recipe.warm_up * recipe.epochs == pytest.approx(1.0)
