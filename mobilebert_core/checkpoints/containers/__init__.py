"""How arrays lie in a file, one reader a container; some have a writer."""
