"""What runs inside the container: standard library plus the runtime under test, Python 3.9 to 3.14."""
