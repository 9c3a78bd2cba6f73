"""The OpenAPI document, made of the structures that answer."""
