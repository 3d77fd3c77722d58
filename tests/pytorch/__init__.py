"""The room that speaks PyTorch: its list of names, its meanings against golden values, and whole programs."""
