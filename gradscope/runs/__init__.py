"""The run folder on disk: layout, writer, reader. No torch."""
