"""``torch.optim.lr_scheduler``: the schedules of microtensor, which have PyTorch's names and meanings."""

from microtensor.optim import lr_scheduler as ours
from microtensor.torch.dtypes import spelled

NAMES = spelled("CosineAnnealingLR ExponentialLR LRScheduler LambdaLR LinearLR MultiStepLR ReduceLROnPlateau")
globals().update({name: getattr(ours, name) for name in (*NAMES, "SequentialLR", "StepLR")})
