"""Where the user's model runs: in processes of its own, or in the server's."""
