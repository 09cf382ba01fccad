"""HTTP: protocol limits, middleware, validation, pagination, responses, ETags, the OpenAPI document."""
