"""What an extension costs: each case edits only the places that CONTRIBUTING.md names, and everything follows."""
