"""The normalizations: one line that all share, and for each norm the choice of axes.

Every norm is a composition of mean, square and √; whitening uses matrix products too. So gradients flow through the
statistics without a rule of their own: there is no derivative and no numpy in this package. ``AXES`` is the table of
what each norm takes its statistics over.
"""

from microtensor.norms.axes import AXES, Axes
from microtensor.norms.batch import batch_norm, batch_renorm, ghost_batch_norm
from microtensor.norms.magnitude import filter_response_norm, local_response_norm, rms_norm, scale_norm
from microtensor.norms.sample import group_norm, instance_norm, layer_norm
from microtensor.norms.standard import standardize
from microtensor.norms.weights import spectral_norm, weight_norm, weight_standardize
from microtensor.norms.whitening import whiten

__all__ = [
    "AXES",
    "Axes",
    "batch_norm",
    "batch_renorm",
    "filter_response_norm",
    "ghost_batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "rms_norm",
    "scale_norm",
    "spectral_norm",
    "standardize",
    "weight_norm",
    "weight_standardize",
    "whiten",
]
