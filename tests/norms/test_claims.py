"""The 62 claims that texts make about normalization: where each is tested, stated aright, or shown by experiment.

What follows exactly is tested in test_claims_batch.py, test_claims_layer.py and test_claims_scale.py, a course in
tests; the docstrings there begin with the numbers. The tables below say where all the others are.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.places import EXAMPLES, ROOT

# What follows from the definitions, to the last digits.
EXACT = {4, 5, 7, 10, 11, 13, 14, 15, 16, 21, 26, 31, 46, 47, 48, 49, 56, 59}

# What the library does: claim, what it asks for, and the tests that it is there.
FEATURES = {
    1: ("batch norm is a layer for any place", "norms/test_claims_batch::test_batch_norm_stands_anywhere"),
    2: ("a composition, no backward by hand", "norms/test_functions::test_the_graph_consists_of_listed_primitives"),
    3: (
        "gradients flow through μ and σ",
        "norms/test_functions::test_each_invariant_rests_on_the_gradient_through_its_statistic",
    ),
    6: (
        "H − μ broadcasts, its gradient is summed back",
        "norms/test_functions::test_value_is_the_formula, "
        "core/test_robustness::test_the_gradient_of_a_broadcast_argument_is_the_sum_over_its_copies",
    ),
    8: ("same shape in and out", "norms/test_claims_batch::test_batch_norm_stands_anywhere"),
    9: (
        "γ and β are learnt",
        "nn/test_modules::test_a_network_learns, nn/test_norm_layers::test_state_keys_are_pytorchs",
    ),
    16: ("one γ and β a channel", "norms/test_functions::test_the_shape_of_gamma_and_beta"),
    24: (
        "training and prediction; exact statistics of the data",
        "nn/test_modules::test_batch_norm_uses_its_statistics_by_mode, "
        "nn/test_modules::test_batch_norm_under_no_grad_still_tracks, "
        "nn/test_norm_layers::test_update_bn_makes_every_norm_see_its_running_statistics, "
        "nn/test_norm_layers::test_update_bn_is_not_the_mean_of_batch_statistics",
    ),
    26: ("a linear layer can do without a bias", "nn/test_modules::test_linear_without_bias_and_with_leading_axes"),
    27: ("before or behind the activation", "norms/test_claims_batch::test_batch_norm_stands_anywhere"),
    45: ("layer norm over the last axes, 1/H, ε, γ, β", "norms/test_functions::test_value_is_the_formula"),
    50: ("a gain and a bias for each neuron", "norms/test_functions::test_gradient_is_the_closed_form"),
    51: (
        "layer norm at each time step",
        "nn/test_recurrent::test_layer_norm_in_the_cell_ignores_the_scale_of_the_weights, "
        "nn/test_recurrent::test_no_output_depends_on_a_later_input",
    ),
    59: (
        "the axes of all norms in one table",
        "norms/test_functions::test_an_element_depends_on_those_that_the_table_takes_it_together_with",
    ),
    60: (
        "instance norm and weight norm",
        "nn/test_norm_layers::test_outputs_gradients_and_state_are_pytorchs_through_training_and_prediction, "
        "nn/test_norm_layers::test_a_computed_weight_trains_copies_and_is_removed_again",
    ),
}

# What texts say wrongly, and no test of the course computes: claim, the right form, and the tests that compute it. What
# papers propose cannot be computed: there is no test of it.
CORRECTED = {
    17: ("γ and β have shape (C,), not that of x", "norms/test_functions::test_the_shape_of_gamma_and_beta"),
    18: ("γ and β are parameters, and are learnt", "nn/test_norm_layers::test_state_keys_are_pytorchs"),
    23: (
        "the batch is normalised with the biased variance, and the running one is unbiased",
        "norms/test_functions::test_running_statistics_move_towards_the_batch_with_the_unbiased_variance",
    ),
    28: ("the paper puts batch norm before the activation", ""),
    44: (
        "layer norm takes one observation, not one batch",
        "norms/test_claims_layer::test_a_sample_does_not_see_its_company",
    ),
    52: ("sequences may be of any length", "nn/test_recurrent::test_a_layer_is_its_cell_step_by_step"),
    55: ("the paper puts layer norm on the summed inputs, before the activation", ""),
    62: ("the paper made layer norm for recurrent networks and small batches", ""),
}

# What is an observation, not a consequence: claim, what it is about, and the experiments that show it; of some there is
# none here: they want an experiment on regularisation.
SHOWN = {
    4: ("how much of a step of the weights moves the mean", "through_the_statistics"),
    12: ("weight decay only sets ‖W‖, and so the effective learning rate", "scale_invariance"),
    24: ("what a running average costs, and the batch as company", "lenet_bn, train_vs_eval"),
    27: ("before or behind the activation", ""),
    29: ("updates assume that the other layers stand still", "depth"),
    30: ("easier coordination of updates, smoother loss", "learning_rates"),
    32: ("penalties and renormalising do not do as well", "through_the_statistics"),
    33: ("the cost of removing all linear relations", "whitening"),
    34: ("fewer steps", "bn_figure1, lenet_bn"),
    35: ("larger learning rates", "learning_rates"),
    36: ("less covariate shift, and not for that reason", "bn_figure1"),
    37: ("conditioning by standardised inputs", "whitening"),
    38: ("regularisation", ""),
    39: ("not together with dropout", ""),
    40: ("small batches", "batch_size"),
    41: ("batches of 50 to 100", ""),
    43: ("higher accuracy in the end", "bn_figure1, learning_rates"),
    54: ("layer norm saves time in an LSTM", "sequences"),
    57: ("which norm for what", "batch_size, lenet_bn, sequences"),
    58: ("transformers take layer norm", "sequences"),
    61: ("generalisation", ""),
}

# What the experiments need of the library, and the tests that it is there.
NEEDED = {
    "a variance in two passes": (
        "nn/test_modules::test_variance_is_numpys, norms/test_functions::test_two_passes_do_not_cancel"
    ),
    "detach and no_grad": (
        "core/test_tensor::test_detach_keeps_value_and_name_without_history, "
        "core/test_backprop::test_no_grad_as_a_context_manager_nests_and_is_restored"
    ),
    "gradients of intermediate results": "core/test_backprop::test_a_result_keeps_its_gradient_when_asked",
    "convolution, pooling, embedding": "nn/test_layers::test_values_and_gradients_are_pytorchs",
    "cross entropy": "nn/test_modules::test_cross_entropy_is_pytorchs",
    "modes": "nn/test_modules::test_modes_reach_everything_within_and_return_the_module",
    "buffers apart from parameters": "nn/test_modules::test_parameters_buffers_and_modules_are_sorted_by_kind",
    "dropout": "nn/test_layers::test_dropout_leaves_out_a_share_and_scales_the_rest_forward_and_backward",
    "LSTM cells": "nn/test_recurrent::test_values_and_gradients_are_pytorchs",
    "attention": "nn/test_attention::test_values_and_gradients_are_pytorchs",
    "SGD, Adam, weight decay": "optim/test_optimizers::test_twenty_steps_are_pytorchs",
    "another learning rate for some parameters": "optim/test_optimizers::test_twenty_steps_of_two_groups_are_pytorchs",
    "warm-up": "optim/test_schedules::test_twenty_epochs_are_pytorchs",
    "float32": (
        "nn/test_norm_layers::test_float32_layers_stay_float32_and_float16_parameters_have_float32_statistics, "
        "nn/test_layers::test_in_float32_everything_stays_float32"
    ),
    "an error for one value a channel": (
        "nn/test_norm_layers::test_one_value_a_channel_names_the_layer_and_the_remedies"
    ),
}


@cache
def functions(file):
    """The functions of a test file and their docstrings, in order."""
    tree = ast.parse((ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8"))
    return {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)}


def proved(file):
    """The claims that each test of a file of the course proves: those that its docstring begins with."""
    begin = [doc.partition(":")[0] for doc in functions(file).values() if doc.startswith("Claim")]
    return [[int(number) for number in re.findall(r"\d+", text)] for text in begin]


COURSE = sorted(f"norms/{path.stem}" for path in Path(__file__).parent.glob("test_claims_*.py"))


def test_every_claim_has_its_place():
    tested = {claim for file in COURSE for claims in proved(file) for claim in claims}
    assert tested >= EXACT
    assert tested | FEATURES.keys() | CORRECTED.keys() | SHOWN.keys() == set(range(1, 63))


@pytest.mark.parametrize("file", ["norms/test_claims_batch", "norms/test_claims_layer"])
def test_the_course_follows_the_order_of_the_claims(file):
    first = [claims[0] for claims in proved(file)]
    assert len(first) > 10
    assert first == sorted(first)


POINTERS = [*(place for _, place in (*FEATURES.values(), *CORRECTED.values()) if place), *NEEDED.values()]


@pytest.mark.parametrize("place", POINTERS)
def test_what_the_tables_point_to_exists(place):
    for pointer in place.split(", "):
        file, _, name = pointer.partition("::")
        assert name in functions(file), pointer


@pytest.mark.parametrize("claim", [claim for claim, (_, examples) in SHOWN.items() if examples])
def test_an_experiment_shows_what_no_test_can(claim):
    for name in SHOWN[claim][1].split(", "):
        assert list(EXAMPLES.glob(f"[0-9][0-9]_{name}.py")), name
