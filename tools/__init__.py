"""Commands that refresh the shipped data; not part of the wheel."""
