"""The pages for people: rendered here, from the same queries as the API's answers."""
