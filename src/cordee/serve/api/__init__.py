"""The OpenAI API: requests, chunks, whole answers and errors, as clients of theirs expect them."""
