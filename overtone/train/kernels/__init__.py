"""The trainer's compiled passes over a Llama-like base in float32."""
