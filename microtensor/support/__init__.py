"""What every room may use and what knows no node, no rule and no tensor: axes, arrays, checks, text, quiet NumPy."""
