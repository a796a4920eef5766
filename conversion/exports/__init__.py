"""Models as files for other runtimes: written by a backend, run and compared with their source before they count."""
