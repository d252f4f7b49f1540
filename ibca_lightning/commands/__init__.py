"""The subcommands of `ibca`, each imported only when it is asked for."""
