"""``torch.nn.init``: initial values, written into a tensor in place."""

from microtensor.nn import init as ours
from microtensor.torch.dtypes import spelled

NAMES = spelled("calculate_gain constant_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_ uniform_ zeros_")
_XAVIER = ("xavier_normal_", "xavier_uniform_")
# PyTorch also has old names without the underscore.
globals().update({key: getattr(ours, name) for name in (*NAMES, *_XAVIER) for key in (name, name.rstrip("_"))})
