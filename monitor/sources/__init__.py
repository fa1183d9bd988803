"""Where facts come from: the package index now; the hub and the runtimes' repositories join here."""
