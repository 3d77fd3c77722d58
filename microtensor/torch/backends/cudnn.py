"""``torch.backends.cudnn``: its flags can be set, and change nothing."""

enabled = benchmark = deterministic = False
