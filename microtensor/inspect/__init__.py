"""Looks at what was recorded and changes nothing: its history, its picture as data, its paths, its correctness."""
