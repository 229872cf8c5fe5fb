"""The command line itself: what all subcommands share."""
