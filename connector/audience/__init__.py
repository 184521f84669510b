"""People as Meta wants them: match keys, normalisation, hashing, layouts, request payload. Pure: values in, out."""
