"""The Gemini API, over REST and gRPC: its methods, messages, names and JSON, and the servicers that translate."""
