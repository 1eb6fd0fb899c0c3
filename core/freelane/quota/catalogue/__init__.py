"""What providers give away and what they charge: rows of data, each with its source and date."""
