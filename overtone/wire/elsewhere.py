"""What is not here, by its path, and what to use instead."""

from __future__ import annotations

import re

MODEL = r"/v1\w*/(tunedModels|models)/[^/:]+"
GENERATE = "POST /v1beta/tunedModels/X:generateContent"
NO_EMBEDDINGS = "Embeddings are not supported; this service tunes and generates text."
NO_CACHES = "Cached contents are not supported; send them: a common beginning is computed once."
NOT_VERTEX = f"This is the Gemini API, not Vertex AI's: leave projects/… out of the path and call {GENERATE}."
NO_RETRIEVAL = "Retrieval is not supported; put the passages into the prompt."
PALM = "The PaLM methods are gone; generateText and generateContent answer here."

ELSEWHERE = (
    (r"/v1\w*/openai(/|$)", f"The OpenAI-compatible paths are not supported; call {GENERATE}."),
    (r"/(upload/)?v1\w*/files(/|:|$)", "Files are not supported; put the text itself into the contents."),
    (r"/v1\w*/cachedContents(/|$)", NO_CACHES),
    (r"/v1\w*/batches(/|:|$)", "Batches are not supported; call generateContent for each request, many at a time."),
    (r"/v1\w*/interactions(/|$)", f"Interactions are not supported; call {GENERATE} with the whole conversation."),
    (r"/v1\w*/(corpora|ragStores|fileSearchStores)(/|:|$)", NO_RETRIEVAL),
    (MODEL + r":(embedContent|batchEmbedContents|embedText|batchEmbedText)$", NO_EMBEDDINGS),
    (MODEL + r":(predict|predictLongRunning)$", "Images and videos are not supported; this service generates text."),
    (MODEL + r":(generateMessage|countMessageTokens|countTextTokens|createTunedTextModel)$", PALM),
    (MODEL + r":bidiGenerateContent$", "Live sessions are not supported; use streamGenerateContent."),
    (r"/v1\w*/projects/", NOT_VERTEX),
    (r"/\$discovery/OPENAPI3_0$", "The OpenAPI description is at /openapi.json."),
    (r"/(v1\w*)/v1\w*/", "The path has the version twice: the base address is to end before it, without /v1beta."),
    (r"/(tunedModels|models|operations)(/|$)", "The version is missing: paths begin with /v1beta/."),
)  # fmt: skip


def find(path: str) -> str:
    """Return what to use instead of a path that no method has, or ""."""
    return next((sentence for pattern, sentence in ELSEWHERE if re.match(pattern, path)), "")
