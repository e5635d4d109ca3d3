"""Data for studies, drawn with numpy from a seed."""
