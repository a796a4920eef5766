"""One module for each subcommand of the `mobilebert` command."""
