"""One adapter a runtime: how this runtime is asked the questions that the checks ask."""
