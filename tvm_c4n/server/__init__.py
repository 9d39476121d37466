"""An HTTP server with OpenAI's API: requests are queued, decoded together, and streamed."""

# The environment variable with the key that requests must bring.
KEY_VARIABLE = "TVM_C4N_API_KEY"
