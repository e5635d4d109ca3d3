"""The figures of the reports: each module draws one kind from plain tables."""
