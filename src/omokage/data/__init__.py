"""Raw input to arrays and back: schema, vectors, files, data sets. Knows nothing of models."""
