"""A conversation in the terminal with any service that speaks OpenAI's API."""
