"""What is probed: catalogue models, local folders, full weights."""
