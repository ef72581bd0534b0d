from dataclasses import replace

from ml.members import MEMBERS
from tools.bench_analysis import arithmetic_limit, memory_limit, operations_per_photo


def test_operations_are_counted_over_all_members_at_their_own_input_size():
    small = replace(MEMBERS["basic_cnn"], input_size=64)
    large = replace(small, input_size=128)
    assert operations_per_photo([large]) > 3.9 * operations_per_photo([small])
    assert operations_per_photo([small, small]) == 2 * operations_per_photo([small])


def test_the_limits_are_those_of_a_machine():
    assert arithmetic_limit() > 1e8
    assert memory_limit() > 1e8
